//! Processor state of a thread.

use stasis_model::{FpuState, GeneralRegisters, NsPid, Registers, XsaveComponents};

use crate::{
    Error, Result,
    error::Place,
    wire::{
        fpregs,
        x86::{
            ThreadInfoX86, UserDesc, UserX86CetEntry, UserX86FpregsEntry, UserX86RegsEntry,
            UserX86XsaveEntry,
        },
    },
};

const NATIVE: u32 = 1;
const ST_WORDS: usize = 32;
const XMM_WORDS: usize = 64;

/// Slots of the global descriptor table that set_thread_area(2) fills.
const TLS_SLOTS: [u32; 3] = [12, 13, 14];

pub(super) fn encode(
    tid: NsPid,
    registers: &Registers,
    clear_child_tid: u64,
) -> Result<ThreadInfoX86> {
    if let Some(name) = wrong_length(&registers.fpu) {
        let reason = format!("its {name} registers do not have the length they must have");
        return Err(Error::unwritable(format!("thread {tid}"), reason));
    }
    Ok(ThreadInfoX86 {
        clear_tid_addr: clear_child_tid,
        gpregs: encode_general(&registers.general),
        fpregs: fpregs::encode(&encode_fpu(&registers.fpu)),
        tls: TLS_SLOTS.map(empty_slot).to_vec(),
    })
}

/// Decodes the registers and the address for set_tid_address(2).
pub(super) fn decode(place: Place, tid: NsPid, info: &ThreadInfoX86) -> Result<(Registers, u64)> {
    let mode = info.gpregs.mode.unwrap_or(NATIVE);
    if mode != NATIVE {
        let reason = "32-bit programs cannot be restored";
        return Err(Error::unsupported(format!("thread {tid}"), reason));
    }
    if info.tls.iter().any(|slot| !slot.seg_not_present) {
        let reason = "it uses set_thread_area(2), which cannot be restored";
        return Err(Error::unsupported(format!("thread {tid}"), reason));
    }
    let fpregs = fpregs::decode(&info.fpregs).map_err(|reason| place.field("fpregs", reason))?;
    let fpu = decode_fpu(place, fpregs)?;
    if let Some(name) = wrong_length(&fpu) {
        return Err(place.field("fpregs", format!("the {name} registers have a wrong length")));
    }
    Ok((Registers { general: decode_general(&info.gpregs), fpu }, info.clear_tid_addr))
}

/// The first set of registers that does not have as many words as it must.
fn wrong_length(fpu: &FpuState) -> Option<&'static str> {
    let empty = XsaveComponents::default();
    let x = fpu.extended.as_ref().unwrap_or(&empty);
    let exact = [("x87", fpu.st.len(), ST_WORDS), ("SSE", fpu.xmm.len(), XMM_WORDS)];
    let or_none = [
        ("AVX", x.ymm_high.len(), 64),
        ("MPX bound", x.bound_registers.len(), 8),
        ("MPX configuration", x.bound_config.len(), 8),
        ("AVX-512 mask", x.opmask.len(), 8),
        ("AVX-512", x.zmm_high.len(), 64),
        ("AVX-512 upper", x.zmm_16_to_31.len(), 128),
        ("protection key", x.pkru.len(), 2),
    ];
    let wrong = exact.iter().find(|(_, len, must)| len != must);
    wrong.or_else(|| or_none.iter().find(|(_, len, must)| *len != 0 && len != must)).map(|w| w.0)
}

fn empty_slot(entry_number: u32) -> UserDesc {
    UserDesc { entry_number, read_exec_only: true, seg_not_present: true, ..Default::default() }
}

fn encode_general(r: &GeneralRegisters) -> UserX86RegsEntry {
    UserX86RegsEntry {
        r15: r.r15,
        r14: r.r14,
        r13: r.r13,
        r12: r.r12,
        bp: r.bp,
        bx: r.bx,
        r11: r.r11,
        r10: r.r10,
        r9: r.r9,
        r8: r.r8,
        ax: r.ax,
        cx: r.cx,
        dx: r.dx,
        si: r.si,
        di: r.di,
        orig_ax: r.orig_ax,
        ip: r.ip,
        cs: r.cs,
        flags: r.flags,
        sp: r.sp,
        ss: r.ss,
        fs_base: r.fs_base,
        gs_base: r.gs_base,
        ds: r.ds,
        es: r.es,
        fs: r.fs,
        gs: r.gs,
        mode: Some(NATIVE),
    }
}

fn decode_general(r: &UserX86RegsEntry) -> GeneralRegisters {
    GeneralRegisters {
        r15: r.r15,
        r14: r.r14,
        r13: r.r13,
        r12: r.r12,
        bp: r.bp,
        bx: r.bx,
        r11: r.r11,
        r10: r.r10,
        r9: r.r9,
        r8: r.r8,
        ax: r.ax,
        cx: r.cx,
        dx: r.dx,
        si: r.si,
        di: r.di,
        orig_ax: r.orig_ax,
        ip: r.ip,
        cs: r.cs,
        flags: r.flags,
        sp: r.sp,
        ss: r.ss,
        fs_base: r.fs_base,
        gs_base: r.gs_base,
        ds: r.ds,
        es: r.es,
        fs: r.fs,
        gs: r.gs,
    }
}

fn encode_fpu(fpu: &FpuState) -> UserX86FpregsEntry {
    UserX86FpregsEntry {
        cwd: fpu.control_word.into(),
        swd: fpu.status_word.into(),
        twd: fpu.tag_word.into(),
        fop: fpu.last_opcode.into(),
        rip: fpu.last_ip,
        rdp: fpu.last_dp,
        mxcsr: fpu.mxcsr,
        mxcsr_mask: fpu.mxcsr_mask,
        st_space: fpu.st.clone(),
        xmm_space: fpu.xmm.clone(),
        padding: Vec::new(),
        xsave: fpu.extended.as_ref().map(encode_extended),
    }
}

fn decode_fpu(place: Place, fpu: UserX86FpregsEntry) -> Result<FpuState> {
    let word = |value: u32, field| {
        u16::try_from(value).map_err(|_| place.field(field, "does not fit into 16 bits"))
    };
    Ok(FpuState {
        control_word: word(fpu.cwd, "cwd")?,
        status_word: word(fpu.swd, "swd")?,
        tag_word: word(fpu.twd, "twd")?,
        last_opcode: word(fpu.fop, "fop")?,
        last_ip: fpu.rip,
        last_dp: fpu.rdp,
        mxcsr: fpu.mxcsr,
        mxcsr_mask: fpu.mxcsr_mask,
        st: fpu.st_space,
        xmm: fpu.xmm_space,
        extended: fpu.xsave.map(decode_extended),
    })
}

fn encode_extended(x: &XsaveComponents) -> UserX86XsaveEntry {
    UserX86XsaveEntry {
        xstate_bv: x.in_use,
        ymmh_space: x.ymm_high.clone(),
        bndreg_state: x.bound_registers.clone(),
        bndcsr_state: x.bound_config.clone(),
        opmask_reg: x.opmask.clone(),
        zmm_upper: x.zmm_high.clone(),
        hi16_zmm: x.zmm_16_to_31.clone(),
        pkru: x.pkru.clone(),
        cet: x.shadow_stack.map(|(cet, ssp)| UserX86CetEntry { cet, ssp }),
    }
}

fn decode_extended(x: UserX86XsaveEntry) -> XsaveComponents {
    XsaveComponents {
        in_use: x.xstate_bv,
        ymm_high: x.ymmh_space,
        bound_registers: x.bndreg_state,
        bound_config: x.bndcsr_state,
        opmask: x.opmask_reg,
        zmm_high: x.zmm_upper,
        zmm_16_to_31: x.hi16_zmm,
        pkru: x.pkru,
        shadow_stack: x.cet.map(|cet| (cet.cet, cet.ssp)),
    }
}
