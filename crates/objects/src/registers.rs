//! General and floating-point registers (x86-64).

use stasis_model::{FpuState, GeneralRegisters, XsaveComponents};
use stasis_sys::{cpuid::xsave_component, ptrace::UserRegs};

use crate::error::{Error, Result};

pub fn to_model(regs: &UserRegs) -> GeneralRegisters {
    let r = regs;
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

/// The registers to set; `orig_ax` says "not in a system call", so that the kernel restarts nothing.
pub fn from_model(registers: &GeneralRegisters) -> UserRegs {
    let r = registers;
    UserRegs {
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
        orig_ax: u64::MAX,
        ip: r.ip,
        cs: r.cs,
        flags: r.flags,
        sp: r.sp,
        ss: if r.ss == 0 { 0x2b } else { r.ss },
        fs_base: r.fs_base,
        gs_base: r.gs_base,
        ds: r.ds,
        es: r.es,
        fs: r.fs,
        gs: r.gs,
    }
}

/// Components that have a place in the model.
const KNOWN: u64 = 0b10_1111_1111;
const HEADER: usize = 512;
const YMM: u32 = 2;
const BOUND_REGISTERS: u32 = 3;
const BOUND_CONFIG: u32 = 4;
const OPMASK: u32 = 5;
const ZMM_HIGH: u32 = 6;
const ZMM_16_TO_31: u32 = 7;
const PKRU: u32 = 9;

/// Takes an XSAVE area (standard format) apart.
///
/// # Errors
/// [`Error::Unsupported`] if a component is in use that cannot be kept, such as AMX tiles.
pub fn freeze_fpu(what: &str, area: &[u8]) -> Result<FpuState> {
    if area.len() < HEADER {
        let reason = format!("its register area is only {} bytes long", area.len());
        return Err(Error::Unsupported { object: what.into(), reason });
    }
    let extended = (area.len() >= HEADER + 64).then(|| components(area));
    if let Some(unknown) = extended.as_ref().map(|e| e.in_use & !KNOWN).filter(|bits| *bits != 0) {
        let reason = format!("it uses processor state {unknown:#x}, which cannot be kept");
        return Err(Error::Unsupported { object: what.into(), reason });
    }
    Ok(FpuState {
        control_word: half(area, 0),
        status_word: half(area, 2),
        tag_word: half(area, 4),
        last_opcode: half(area, 6),
        last_ip: long(area, 8),
        last_dp: long(area, 16),
        mxcsr: word(area, 24),
        mxcsr_mask: word(area, 28),
        st: words(&area[32..160]),
        xmm: words(&area[160..416]),
        extended,
    })
}

fn components(area: &[u8]) -> XsaveComponents {
    // What the area was cut off before is in its initial state, which is zeros.
    let piece = |number: u32, max: usize| -> Vec<u8> {
        let place = xsave_component(number);
        let (offset, len) = place.map_or((0, 0), |(offset, size)| (offset, size.min(max)));
        let from = area.get(offset..).unwrap_or_default();
        let mut piece = from[..len.min(from.len())].to_vec();
        piece.resize(len, 0);
        piece
    };
    XsaveComponents {
        in_use: long(area, HEADER),
        ymm_high: words(&piece(YMM, 256)),
        bound_registers: longs(&piece(BOUND_REGISTERS, 64)),
        bound_config: longs(&piece(BOUND_CONFIG, 64)),
        opmask: longs(&piece(OPMASK, 64)),
        zmm_high: longs(&piece(ZMM_HIGH, 512)),
        zmm_16_to_31: longs(&piece(ZMM_16_TO_31, 1024)),
        pkru: words(&piece(PKRU, 8)),
        shadow_stack: None,
    }
}

/// Builds an XSAVE area for this processor; `template` is one of its own making.
///
/// # Errors
/// [`Error::Unsupported`] if a component is in use that this processor does not have.
pub fn thaw_fpu(what: &str, fpu: &FpuState, template: &[u8]) -> Result<Vec<u8>> {
    let mut area = vec![0; template.len()];
    let description = 464..512.min(area.len()); // of the area, by the kernel
    area[description.clone()].copy_from_slice(&template[description]);
    put(&mut area, 0, &fpu.control_word.to_ne_bytes());
    put(&mut area, 2, &fpu.status_word.to_ne_bytes());
    put(&mut area, 4, &fpu.tag_word.to_ne_bytes());
    put(&mut area, 6, &fpu.last_opcode.to_ne_bytes());
    put(&mut area, 8, &fpu.last_ip.to_ne_bytes());
    put(&mut area, 16, &fpu.last_dp.to_ne_bytes());
    // Bits that this processor does not have would be refused.
    let mask = word(template, 28);
    let mask = if mask == 0 { 0xffbf } else { mask };
    put(&mut area, 24, &(fpu.mxcsr & mask).to_ne_bytes());
    put(&mut area, 28, &mask.to_ne_bytes());
    put_words(&mut area, 32, &fpu.st);
    put_words(&mut area, 160, &fpu.xmm);
    if area.len() >= HEADER + 64 {
        let in_use = fpu.extended.as_ref().map_or(0, in_use_here) | 3;
        put(&mut area, HEADER, &in_use.to_ne_bytes());
        if let Some(extended) = &fpu.extended {
            put_components(what, &mut area, extended)?;
        }
    }
    Ok(area)
}

/// Components to be put in: what is not needed is left out if this processor lacks it.
fn in_use_here(extended: &XsaveComponents) -> u64 {
    let in_use = extended.in_use;
    let is_here = |number: &u32| in_use & 1 << number != 0 && xsave_component(*number).is_some();
    let here: u64 = (2..64).filter(is_here).map(|number| 1 << number).sum();
    in_use & (extended.needed() | here | 3)
}

fn put_components(what: &str, area: &mut [u8], extended: &XsaveComponents) -> Result<()> {
    let e = extended;
    let in_use = in_use_here(e);
    for (number, words) in [(YMM, &e.ymm_high), (PKRU, &e.pkru)] {
        if in_use & 1 << number != 0 {
            let place = place_of(what, area, number, words.len() * size_of::<u32>())?;
            put_words(area, place, words);
        }
    }
    for (number, longs) in [
        (BOUND_REGISTERS, &e.bound_registers),
        (BOUND_CONFIG, &e.bound_config),
        (OPMASK, &e.opmask),
        (ZMM_HIGH, &e.zmm_high),
        (ZMM_16_TO_31, &e.zmm_16_to_31),
    ] {
        if in_use & 1 << number != 0 {
            let place = place_of(what, area, number, longs.len() * size_of::<u64>())?;
            put_longs(area, place, longs);
        }
    }
    Ok(())
}

/// Where so many bytes of a component go.
fn place_of(what: &str, area: &[u8], number: u32, len: usize) -> Result<usize> {
    xsave_component(number)
        .filter(|(offset, size)| offset + size <= area.len() && len <= *size)
        .map(|(offset, _)| offset)
        .ok_or_else(|| {
            let reason = format!("it uses processor state {number}, which this processor lacks");
            Error::Unsupported { object: what.into(), reason }
        })
}

fn half(area: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(area[at..at + 2].try_into().expect("two bytes"))
}

fn word(area: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(area[at..at + 4].try_into().expect("four bytes"))
}

fn long(area: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(area[at..at + 8].try_into().expect("eight bytes"))
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|chunk| word(chunk, 0)).collect()
}

fn longs(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|chunk| long(chunk, 0)).collect()
}

fn put(area: &mut [u8], at: usize, bytes: &[u8]) {
    area[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put_words(area: &mut [u8], at: usize, words: &[u32]) {
    for (place, word) in area[at..].chunks_exact_mut(size_of::<u32>()).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
}

fn put_longs(area: &mut [u8], at: usize, longs: &[u64]) {
    for (place, long) in area[at..].chunks_exact_mut(size_of::<u64>()).zip(longs) {
        place.copy_from_slice(&long.to_ne_bytes());
    }
}
