use stasis_model::{NsPid, Registers, State, Thread};

use super::*;

fn processor(bits: &[(usize, u32)], components: u64) -> Processor {
    let mut features = vec![0; 19];
    for (word, bit) in bits {
        features[*word] |= 1 << bit;
    }
    Processor { features, components, ..Processor::default() }
}

fn host(processor: Processor) -> Host {
    Host { kernel: (6, 18), processor }
}

const AVX2: (usize, u32) = (9, 5);
const ERMS: (usize, u32) = (9, 9);
const XSAVEC: (usize, u32) = (10, 1);

fn tree(extended: XsaveComponents) -> Tree {
    let mut tree = crate::tests::tree(&[(1, 0, 1, 1)]);
    let State::Live { live, .. } = &mut tree.processes[0].state else { panic!() };
    live.threads.push(thread(extended));
    tree
}

fn thread(extended: XsaveComponents) -> Thread {
    let mut registers = Registers::default();
    registers.fpu.extended = Some(extended);
    Thread {
        tid: NsPid(1),
        name: b"test".to_vec(),
        registers,
        clear_child_tid: 0,
        blocked: Default::default(),
        pending: Vec::new(),
        alt_stack: Default::default(),
        robust_list: Default::default(),
        rseq: None,
        scheduling: Default::default(),
        parent_death_signal: None,
        credentials: Default::default(),
        seccomp: Default::default(),
        interrupted: None,
    }
}

fn reasons(tree: &Tree, theirs: Option<&Processor>, host: &Host, check: CpuCheck) -> String {
    let found = obstacles_of_host(tree, theirs, host, check);
    found.iter().map(|obstacle| format!("{obstacle}\n")).collect()
}

#[test]
fn only_what_programs_can_have_used_must_be_there() {
    let tree = tree(XsaveComponents::default());
    let theirs = processor(&[AVX2, ERMS, XSAVEC], 7);
    let more = host(processor(&[AVX2, XSAVEC, (9, 16)], 0xe7));
    assert_eq!(reasons(&tree, Some(&theirs), &more, CpuCheck::Ins), "");
    assert!(reasons(&tree, Some(&theirs), &more, CpuCheck::Cpu).contains("had: 9:9"));
    let less = host(processor(&[XSAVEC], 7));
    assert!(reasons(&tree, Some(&theirs), &less, CpuCheck::Ins).contains("had: avx2"));
    assert_eq!(reasons(&tree, Some(&theirs), &less, CpuCheck::Fpu), "");
    assert_eq!(reasons(&tree, None, &less, CpuCheck::Cpu), "", "nothing is known of then");
}

#[test]
fn features_of_the_second_subleaf_count() {
    let tree = tree(XsaveComponents::default());
    let theirs = Processor { more_features: vec![1 << 4, 0], ..processor(&[], 0) };
    let ours = host(processor(&[], 0));
    assert!(reasons(&tree, Some(&theirs), &ours, CpuCheck::Ins).contains("had: avx_vnni"));
    assert_eq!(reasons(&tree, Some(&theirs), &host(theirs.clone()), CpuCheck::Cpu), "");
}

#[test]
fn registers_in_use_must_be_there_also_if_nothing_is_known_of_the_processor() {
    let in_use = XsaveComponents { in_use: 0b1110_0111, ..XsaveComponents::default() };
    let tree = tree(in_use);
    let narrow = host(processor(&[], 7));
    let found = reasons(&tree, None, &narrow, CpuCheck::Ins);
    assert_eq!(found.lines().count(), 3, "{found}");
    assert!(found.contains("process 1 (test) holds AVX-512 registers"), "{found}");
    assert_eq!(reasons(&tree, None, &narrow, CpuCheck::None), "");
    assert_eq!(reasons(&tree, None, &host(processor(&[], 0xe7)), CpuCheck::Ins), "");
}

#[test]
fn protection_keys_as_the_kernel_sets_them_are_no_need() {
    let keys = |pkru| XsaveComponents {
        in_use: 1 << 9,
        pkru: vec![pkru, 0],
        ..XsaveComponents::default()
    };
    let without = host(processor(&[], 7));
    assert_eq!(reasons(&tree(keys(0x5555_5554)), None, &without, CpuCheck::Ins), "");
    assert!(reasons(&tree(keys(0)), None, &without, CpuCheck::Ins).contains("protection keys"));
}

#[test]
fn more_registers_are_a_risk_only_where_all_of_them_are_saved() {
    let tree = tree(XsaveComponents::default());
    let (narrow, wide) = (processor(&[], 7), host(processor(&[], 0xe7)));
    let found = reasons(&tree, Some(&narrow), &wide, CpuCheck::Ins);
    assert!(found.contains("too little"), "{found}");
    let compact = processor(&[XSAVEC], 7);
    let wide = host(processor(&[XSAVEC], 0xe7));
    assert_eq!(reasons(&tree, Some(&compact), &wide, CpuCheck::Ins), "");
}

#[test]
fn an_old_kernel_is_refused_for_what_it_does_not_know() {
    let mut tree = tree(XsaveComponents::default());
    let old = Host { kernel: (6, 12), ..host(Processor::default()) };
    assert_eq!(reasons(&tree, None, &old, CpuCheck::Ins), "");
    let State::Live { live, .. } = &mut tree.processes[0].state else { panic!() };
    live.memory.guards.push(0x1000..0x2000);
    let found = reasons(&tree, None, &old, CpuCheck::Ins);
    assert_eq!(found, "the kernel: guard pages need Linux 6.13, and this is 6.12\n");
}
