//! Which files there are, how they begin, and how they are called.

/// First word of most files since format version 2.
pub const COMMON: u32 = 0x5456_4319;

/// First word of files that are no part of the checkpoint proper, such as statistics.
pub const SERVICE: u32 = 0x5510_5940;

/// What stands before the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// [`COMMON`], then the file's magic.
    Common,
    /// [`SERVICE`], then the file's magic.
    Service,
    /// The file's magic alone.
    Own,
    /// Nothing, and no records either.
    Raw,
}

/// The number in a file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    None,
    Decimal,
    Hexadecimal,
}

/// Whether a file of this kind is still written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Current,
    /// Only checkpoints of old releases have it.
    Old,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub prefix: &'static str,
    pub number: Number,
    pub suffix: &'static str,
    pub magic: u32,
    pub header: Header,
    pub r#use: Use,
}

impl Format {
    /// Whether a file of this name is of this kind.
    fn fits(&self, name: &str) -> bool {
        let middle = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_suffix(self.suffix));
        middle.is_some_and(|middle| match self.number {
            Number::None => middle.is_empty(),
            Number::Decimal => {
                !middle.is_empty() && middle.bytes().all(|byte| byte.is_ascii_digit())
            }
            Number::Hexadecimal => {
                !middle.is_empty() && middle.bytes().all(|byte| byte.is_ascii_hexdigit())
            }
        })
    }
}

/// The kind of the file called `name`; current kinds go before old ones.
pub fn format_of(name: &str) -> Option<&'static Format> {
    let of = |r#use| FORMATS.iter().find(|format| format.r#use == r#use && format.fits(name));
    of(Use::Current).or_else(|| of(Use::Old))
}

const fn format(
    prefix: &'static str,
    number: Number,
    suffix: &'static str,
    magic: u32,
    header: Header,
    r#use: Use,
) -> Format {
    Format { prefix, number, suffix, magic, header, r#use }
}

/// All kinds.
#[rustfmt::skip]
pub const FORMATS: &[Format] = &[
    format("inventory.img", Number::None, "", 0x5831_3116, Header::Own, Use::Current),
    format("fdinfo-", Number::Decimal, ".img", 0x5621_3732, Header::Common, Use::Current),
    format("pagemap-", Number::Decimal, ".img", 0x5608_4025, Header::Common, Use::Current),
    format("pagemap-shmem-", Number::Decimal, ".img", 0x5608_4025, Header::Common, Use::Current),
    format("reg-files.img", Number::None, "", 0x5036_3636, Header::Common, Use::Old),
    format("ext-files.img", Number::None, "", 0x5925_5641, Header::Common, Use::Old),
    format("ns-files.img", Number::None, "", 0x6139_4011, Header::Common, Use::Old),
    format("eventfd.img", Number::None, "", 0x4452_3722, Header::Common, Use::Old),
    format("eventpoll.img", Number::None, "", 0x4502_3858, Header::Common, Use::Old),
    format("eventpoll-tfd.img", Number::None, "", 0x4443_3746, Header::Common, Use::Old),
    format("signalfd.img", Number::None, "", 0x5732_3820, Header::Common, Use::Old),
    format("inotify.img", Number::None, "", 0x4842_4431, Header::Common, Use::Old),
    format("inotify-wd.img", Number::None, "", 0x5456_2009, Header::Common, Use::Old),
    format("fanotify.img", Number::None, "", 0x5509_6122, Header::Common, Use::Old),
    format("fanotify-mark.img", Number::None, "", 0x5650_6035, Header::Common, Use::Old),
    format("core-", Number::Decimal, ".img", 0x5505_3847, Header::Common, Use::Current),
    format("ids-", Number::Decimal, ".img", 0x5443_2030, Header::Common, Use::Current),
    format("mm-", Number::Decimal, ".img", 0x5749_2820, Header::Common, Use::Current),
    format("vmas-", Number::Decimal, ".img", 0x5412_3737, Header::Common, Use::Old),
    format("pipes.img", Number::None, "", 0x5651_3555, Header::Common, Use::Old),
    format("pipes-data.img", Number::None, "", 0x5645_3709, Header::Common, Use::Current),
    format("fifo.img", Number::None, "", 0x5836_4939, Header::Common, Use::Old),
    format("fifo-data.img", Number::None, "", 0x5933_3054, Header::Common, Use::Current),
    format("pstree.img", Number::None, "", 0x5027_3030, Header::Common, Use::Current),
    format("sigacts-", Number::Decimal, ".img", 0x5534_4201, Header::Common, Use::Old),
    format("unixsk.img", Number::None, "", 0x5437_3943, Header::Common, Use::Old),
    format("inetsk.img", Number::None, "", 0x5644_3851, Header::Common, Use::Old),
    format("packetsk.img", Number::None, "", 0x6045_4618, Header::Common, Use::Old),
    format("netlinksk.img", Number::None, "", 0x5800_5614, Header::Common, Use::Old),
    format("sk-queues.img", Number::None, "", 0x5626_4026, Header::Common, Use::Current),
    format("itimers-", Number::Decimal, ".img", 0x5746_4056, Header::Common, Use::Old),
    format("posix-timers-", Number::Decimal, ".img", 0x5260_3957, Header::Common, Use::Old),
    format("creds-", Number::Decimal, ".img", 0x5402_3547, Header::Common, Use::Old),
    format("utsns-", Number::Decimal, ".img", 0x5447_3203, Header::Common, Use::Current),
    format("ipcns-var-", Number::Decimal, ".img", 0x5311_5007, Header::Common, Use::Current),
    format("ipcns-shm-", Number::Decimal, ".img", 0x4628_3044, Header::Common, Use::Current),
    format("ipcns-msg-", Number::Decimal, ".img", 0x5545_3737, Header::Common, Use::Current),
    format("ipcns-sem-", Number::Decimal, ".img", 0x5957_3019, Header::Common, Use::Current),
    format("fs-", Number::Decimal, ".img", 0x5140_3912, Header::Common, Use::Current),
    format("remap-fpath.img", Number::None, "", 0x5913_3954, Header::Common, Use::Current),
    format("ghost-file-", Number::Hexadecimal, ".img", 0x5258_3605, Header::Common, Use::Current),
    format("memfd.img", Number::None, "", 0x4845_3499, Header::Common, Use::Current),
    format("tcp-stream-", Number::Hexadecimal, ".img", 0x5146_5506, Header::Common, Use::Current),
    format("mountpoints-", Number::Decimal, ".img", 0x5556_3928, Header::Common, Use::Current),
    format("netdev-", Number::Decimal, ".img", 0x5737_3951, Header::Common, Use::Current),
    format("netns-", Number::Decimal, ".img", 0x5593_3752, Header::Common, Use::Current),
    format("ifaddr-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("route-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("route6-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("rule-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("iptables-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("ip6tables-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("nftables-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("tmpfs-", Number::Decimal, ".tar.gz.img", 0, Header::Raw, Use::Old),
    format("tmpfs-dev-", Number::Decimal, ".tar.gz.img", 0, Header::Raw, Use::Current),
    format("autofs-", Number::Decimal, ".img", 0x4935_3943, Header::Common, Use::Current),
    format("binfmt-misc-", Number::Decimal, ".img", 0x6734_3323, Header::Common, Use::Old),
    format("binfmt-misc.img", Number::None, "", 0x6734_3323, Header::Common, Use::Current),
    format("tty.img", Number::None, "", 0x5943_3025, Header::Common, Use::Old),
    format("tty-info.img", Number::None, "", 0x5945_3036, Header::Common, Use::Current),
    format("tty-data.img", Number::None, "", 0x5941_3026, Header::Common, Use::Current),
    format("filelocks.img", Number::None, "", 0x5432_3616, Header::Common, Use::Current),
    format("rlimit-", Number::Decimal, ".img", 0x5711_3925, Header::Common, Use::Old),
    format("pages-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("pages-", Number::Decimal, ".img", 0x5608_4025, Header::Common, Use::Old),
    format("pages-shmem-", Number::Decimal, ".img", 0x5608_4025, Header::Common, Use::Old),
    format("signal-s-", Number::Decimal, ".img", 0x5925_5647, Header::Common, Use::Old),
    format("signal-p-", Number::Decimal, ".img", 0x5925_5647, Header::Common, Use::Old),
    format("tunfile.img", Number::None, "", 0x5714_3751, Header::Common, Use::Old),
    format("cgroup.img", Number::None, "", 0x5938_3330, Header::Common, Use::Current),
    format("timerfd.img", Number::None, "", 0x5049_3712, Header::Common, Use::Old),
    format("cpuinfo.img", Number::None, "", 0x6140_4013, Header::Common, Use::Current),
    format("seccomp.img", Number::None, "", 0x6441_3049, Header::Common, Use::Current),
    format("userns-", Number::Decimal, ".img", 0x5547_4906, Header::Common, Use::Current),
    format("netns-ct-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("netns-exp-", Number::Decimal, ".img", 0, Header::Raw, Use::Current),
    format("files.img", Number::None, "", 0x5630_3138, Header::Common, Use::Current),
    format("timens-", Number::Decimal, ".img", 0x4311_4433, Header::Common, Use::Current),
    format("pidns-", Number::Decimal, ".img", 0x6115_7326, Header::Common, Use::Current),
    format("bpfmap-file.img", Number::None, "", 0x5750_6142, Header::Common, Use::Old),
    format("bpfmap-data.img", Number::None, "", 0x6432_4033, Header::Common, Use::Current),
    format("apparmor.img", Number::None, "", 0x5942_3047, Header::Common, Use::Current),
    format("pidfd.img", Number::None, "", 0x5443_5556, Header::Common, Use::Old),
    format("stats-dump", Number::None, "", 0x5709_3306, Header::Service, Use::Current),
    format("stats-restore", Number::None, "", 0x5709_3306, Header::Service, Use::Current),
    format("irmap-cache", Number::None, "", 0x5700_4059, Header::Service, Use::Current),
];

#[cfg(test)]
mod tests {
    use super::{Header, Use, format_of};

    #[test]
    fn names_lead_to_formats() {
        let check = |name: &str, magic| assert_eq!(format_of(name).unwrap().magic, magic, "{name}");
        check("inventory.img", 0x5831_3116);
        check("core-19086.img", 0x5505_3847);
        check("pagemap-shmem-67077.img", 0x5608_4025);
        check("tcp-stream-4debf5.img", 0x5146_5506);
        check("stats-dump", 0x5709_3306);
        assert_eq!(format_of("pages-1.img").unwrap().header, Header::Raw);
        assert_eq!(format_of("pages-1.img").unwrap().r#use, Use::Current);
        assert_eq!(format_of("tmpfs-dev-63.tar.gz.img").unwrap().header, Header::Raw);
        assert!(format_of("core-.img").is_none());
        assert!(format_of("core-12x.img").is_none());
        assert!(format_of("descriptors.json").is_none());
    }
}
