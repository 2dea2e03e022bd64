//! Rules of the packet filter, and the transaction that replaces our table by them (nftables).
//!
//! Rules are built of the kernel's own expressions, which load a value into a register, compare it,
//! and go on with the next one if the comparison holds. Registers hold packet data in network order;
//! what the kernel itself computes (marks, states, kinds of addresses) it holds in its own.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    nftables::{
        Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, HookNumber,
        Immediate, InetHookNumber, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register,
        RuleAttribute, RuleMessage, TableAttribute, TableFlags, TableMessage, Verdict,
        VerdictAttribute,
    },
    none::ControlMessage,
};

use crate::{
    error::{Context, Result},
    netlink::Netlink,
    port::Protocol,
};

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
const IFNAMSIZ: usize = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const RTN_LOCAL: u32 = 2;
/// The address the packet was sent to was translated (`IPS_DST_NAT`).
const IPS_DST_NAT: u32 = 1 << 5;
/// `NF_CT_STATE_BIT` of established and related connections.
const CT_ESTABLISHED_OR_RELATED: u32 = 2 | 4;

/// A chain: where packets come by, or a place that others jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub name: &'static str,
    pub hook: Option<ChainHook>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainHook {
    pub kind: &'static str,
    pub at: InetHookNumber,
    pub priority: i32,
}

/// Conditions and what is done when all of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule(Vec<Expressions>);

impl Rule {
    pub fn new() -> Rule {
        Rule::default()
    }

    /// The packet came in by this device.
    pub fn comes_by(self, name: &str) -> Rule {
        self.meta(MetaKey::Iifname).compare(Operator::Equal, device(name))
    }

    pub fn comes_not_by(self, name: &str) -> Rule {
        self.meta(MetaKey::Iifname).compare(Operator::NotEqual, device(name))
    }

    /// The packet goes out by this device.
    pub fn leaves_by(self, name: &str) -> Rule {
        self.meta(MetaKey::Oifname).compare(Operator::Equal, device(name))
    }

    pub fn leaves_not_by(self, name: &str) -> Rule {
        self.meta(MetaKey::Oifname).compare(Operator::NotEqual, device(name))
    }

    pub fn source_in(self, net: IpNet) -> Rule {
        let offset = if matches!(net, IpNet::V4(_)) { 12 } else { 8 };
        self.address(net, offset)
    }

    pub fn destination_in(self, net: IpNet) -> Rule {
        let offset = if matches!(net, IpNet::V4(_)) { 16 } else { 24 };
        self.address(net, offset)
    }

    fn address(self, net: IpNet, offset: u32) -> Rule {
        let (mask, value) = (octets(net.netmask()), octets(net.network()));
        let rule = self.of_family(net.addr());
        let len = mask.len();
        let rule = rule.payload(NETWORK_HEADER, offset, len);
        if usize::from(net.prefix_len()) == len * 8 {
            return rule.compare(Operator::Equal, value);
        }
        rule.mask(mask).compare(Operator::Equal, value)
    }

    /// The packet is of the same family as this address.
    pub fn of_family(self, address: IpAddr) -> Rule {
        self.meta(MetaKey::Nfproto).compare(Operator::Equal, vec![nfproto(address)])
    }

    /// The packet is for one of these ports.
    pub fn for_ports(self, protocol: Protocol, first: u16, last: u16) -> Rule {
        let number = match protocol {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
        };
        let rule = self.meta(MetaKey::L4Proto).compare(Operator::Equal, vec![number]).payload(
            TRANSPORT_HEADER,
            2,
            2,
        );
        if first == last {
            return rule.compare(Operator::Equal, first.to_be_bytes().to_vec());
        }
        rule.compare(Operator::GreatherThanEqual, first.to_be_bytes().to_vec())
            .compare(Operator::LessThanEqual, last.to_be_bytes().to_vec())
    }

    /// The packet is a segment of TCP.
    pub fn of_tcp(self) -> Rule {
        self.meta(MetaKey::L4Proto).compare(Operator::Equal, vec![IPPROTO_TCP])
    }

    /// The packet goes from one TCP port to another.
    pub fn between_tcp_ports(self, source: u16, destination: u16) -> Rule {
        let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        self.of_tcp().payload(TRANSPORT_HEADER, 0, 4).compare(Operator::Equal, ports)
    }

    /// The packet bears this mark.
    pub fn marked(self, mark: u32) -> Rule {
        self.meta(MetaKey::Mark).compare(Operator::Equal, mark.to_ne_bytes().to_vec())
    }

    /// The packet is for an address of this host.
    pub fn for_this_host(self) -> Rule {
        const RESULT_ADDRTYPE: u32 = 3;
        const FLAG_DADDR: u32 = 2;
        let attributes = vec![number(1, 1), number(2, RESULT_ADDRTYPE), number(3, FLAG_DADDR)];
        self.other("fib", attributes).compare(Operator::Equal, RTN_LOCAL.to_ne_bytes().to_vec())
    }

    /// The packet belongs to a connection whose destination was translated.
    pub fn of_translated(self) -> Rule {
        const KEY_STATUS: u32 = 2;
        self.connection(KEY_STATUS, IPS_DST_NAT)
    }

    /// The packet belongs to a connection that exists already.
    pub fn of_established(self) -> Rule {
        const KEY_STATE: u32 = 0;
        self.connection(KEY_STATE, CT_ESTABLISHED_OR_RELATED)
    }

    fn connection(self, key: u32, bits: u32) -> Rule {
        self.other("ct", vec![number(1, 1), number(2, key)])
            .mask(bits.to_ne_bytes().to_vec())
            .compare(Operator::NotEqual, 0u32.to_ne_bytes().to_vec())
    }

    /// The packet is a segment that ends a connection at once.
    pub fn of_tcp_resets(self) -> Rule {
        const RST: u8 = 4;
        self.of_tcp()
            .payload(TRANSPORT_HEADER, 13, 1)
            .mask(vec![RST])
            .compare(Operator::NotEqual, vec![0])
    }

    pub fn accept(self) -> Rule {
        self.verdict(Verdict::Other(NF_ACCEPT), None)
    }

    pub fn drop(self) -> Rule {
        self.verdict(Verdict::Other(NF_DROP), None)
    }

    pub fn jump(self, chain: &str) -> Rule {
        self.verdict(Verdict::Jump, Some(chain))
    }

    /// Puts the address of the device it goes out by in the place of the sender's.
    pub fn masquerade(self) -> Rule {
        self.other("masq", Vec::new())
    }

    /// Sends the packet to another address, and to another port if there is one.
    pub fn send_to(self, address: IpAddr, port: Option<u16>) -> Rule {
        const DESTINATION: u32 = 1;
        const REGISTER_1: u32 = 1;
        const REGISTER_2: u32 = 2;
        let mut attributes = vec![
            number(1, DESTINATION),
            number(2, u32::from(nfproto(address))),
            number(3, REGISTER_1),
        ];
        let mut rule = self.load(Register::Reg1, octets(address));
        if let Some(port) = port {
            attributes.push(number(5, REGISTER_2));
            rule = rule.load(Register::Reg2, port.to_be_bytes().to_vec());
        }
        rule.other("nat", attributes)
    }

    fn meta(self, key: MetaKey) -> Rule {
        let attributes = vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)];
        self.with(Expressions::Meta(attributes))
    }

    fn payload(self, base: u32, offset: u32, len: usize) -> Rule {
        self.with(Expressions::Payload(vec![
            Payload::DestinationRegister(Register::Reg1),
            Payload::Base(base),
            Payload::Offset(offset),
            Payload::Len(u32::try_from(len).expect("at most the length of an address")),
        ]))
    }

    fn mask(self, mask: Vec<u8>) -> Rule {
        let len = u32::try_from(mask.len()).expect("at most the length of an address");
        let none = vec![0; mask.len()];
        self.with(Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(len),
            Bitwise::Mask(DataAttribute::Value(mask)),
            Bitwise::Xor(DataAttribute::Value(none)),
        ]))
    }

    fn compare(self, operator: Operator, value: Vec<u8>) -> Rule {
        self.with(Expressions::Cmp(vec![
            Cmp::SourceRegister(Register::Reg1),
            Cmp::Op(operator),
            Cmp::Data(DataAttribute::Value(value)),
        ]))
    }

    fn load(self, register: Register, value: Vec<u8>) -> Rule {
        self.with(Expressions::Immediate(vec![
            Immediate::DestinationRegister(register),
            Immediate::Data(DataAttribute::Value(value)),
        ]))
    }

    fn verdict(self, verdict: Verdict, chain: Option<&str>) -> Rule {
        let mut attributes = vec![VerdictAttribute::Code(verdict)];
        attributes.extend(chain.map(|chain| VerdictAttribute::Chain(chain.to_owned())));
        self.with(Expressions::Immediate(vec![
            Immediate::DestinationRegister(Register::Verdict),
            Immediate::Data(DataAttribute::Verdict(attributes)),
        ]))
    }

    /// Expressions that the crate has no types for.
    fn other(self, name: &str, attributes: Vec<DefaultNla>) -> Rule {
        self.with(Expressions::Other { expression_type: name.to_owned(), attributes })
    }

    fn with(mut self, expression: Expressions) -> Rule {
        self.0.push(expression);
        self
    }
}

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

/// The kernel compares names with all the zeros behind them.
fn device(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}

fn nfproto(address: IpAddr) -> u8 {
    if address.is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Puts these chains in the place of all that the table of this name held; none at all removes the
/// table. It happens in one transaction: no packet ever sees a half of it.
///
/// # Errors
/// [`crate::Error::Refused`]; the table is as it was before.
pub(crate) fn replace_table(table: &str, chains: &[Chain]) -> Result<()> {
    // A table can be removed only if it is there, and made only if it is not: making it is no error
    // if it is there, so this works in both cases.
    let mut messages = vec![
        (control(ControlMessage::BatchBegin), 0),
        (table_message(table, NfTablesMessage::NewTable), NLM_F_CREATE),
        (table_message(table, NfTablesMessage::DeleteTable), 0),
    ];
    if !chains.is_empty() {
        messages.push((table_message(table, NfTablesMessage::NewTable), NLM_F_CREATE));
    }
    messages.extend(chain_messages(table, chains));
    messages.push((control(ControlMessage::BatchEnd), 0));
    let netlink = Netlink::netfilter().context("open", "a packet filter socket");
    netlink?.transaction(messages).context("write the packet filter's table", table)
}

/// Makes a table that lives as long as this socket, and that nobody else can change.
///
/// # Errors
/// [`crate::Error::Refused`]; there is no such table then.
pub(crate) fn own_table(netlink: &mut Netlink, table: &str, chains: &[Chain]) -> Result<()> {
    let attributes =
        vec![TableAttribute::Name(table.to_owned()), TableAttribute::Flags(TableFlags::Owner)];
    let mut messages = vec![
        (control(ControlMessage::BatchBegin), 0),
        (inet(NfTablesMessage::NewTable(TableMessage { attributes })), NLM_F_CREATE | NLM_F_EXCL),
    ];
    messages.extend(chain_messages(table, chains));
    messages.push((control(ControlMessage::BatchEnd), 0));
    netlink.transaction(messages).context("write the packet filter's table", table)
}

/// Removes a table that this socket owns.
///
/// # Errors
/// [`crate::Error::Refused`]
pub(crate) fn disown_table(netlink: &mut Netlink, table: &str) -> Result<()> {
    let messages = vec![
        (control(ControlMessage::BatchBegin), 0),
        (table_message(table, NfTablesMessage::DeleteTable), 0),
        (control(ControlMessage::BatchEnd), 0),
    ];
    netlink.transaction(messages).context("remove the packet filter's table", table)
}

fn chain_messages(table: &str, chains: &[Chain]) -> Vec<(NetfilterMessage, u16)> {
    let made = chains.iter().map(|chain| (chain_message(table, chain), NLM_F_CREATE));
    let filled = chains.iter().flat_map(|chain| {
        let flags = NLM_F_CREATE | NLM_F_APPEND;
        chain.rules.iter().map(move |rule| (rule_message(table, chain.name, rule), flags))
    });
    made.chain(filled).collect()
}

fn control(message: ControlMessage) -> NetfilterMessage {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM);
    NetfilterMessage::new(header, message)
}

fn inet(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message)
}

fn table_message(table: &str, kind: impl Fn(TableMessage) -> NfTablesMessage) -> NetfilterMessage {
    inet(kind(TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] }))
}

fn chain_message(table: &str, chain: &Chain) -> NetfilterMessage {
    let mut attributes =
        vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(chain.name.to_owned())];
    if let Some(hook) = &chain.hook {
        attributes.push(ChainAttribute::Type(hook.kind.to_owned()));
        attributes.push(ChainAttribute::Hook(vec![
            Hook::Number(HookNumber::Inet(hook.at)),
            Hook::Priority(hook.priority.cast_unsigned()),
        ]));
        attributes.push(ChainAttribute::Policy(NF_ACCEPT));
    }
    inet(NfTablesMessage::NewChain(ChainMessage { attributes }))
}

fn rule_message(table: &str, chain: &str, rule: &Rule) -> NetfilterMessage {
    let expressions = rule.0.iter().cloned().map(Into::into).collect();
    inet(NfTablesMessage::NewRule(RuleMessage {
        attributes: vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(chain.to_owned()),
            RuleAttribute::Expressions(expressions),
        ],
    }))
}

/// Tables in this network namespace that drop forwarded packets which no rule of theirs accepts.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel.
pub(crate) fn tables_that_drop_forwarded() -> Result<Vec<String>> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let all = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
    let chains = Netlink::netfilter()
        .and_then(|mut netlink| netlink.dump(NetfilterMessage::new(header, all)))
        .context("list", "the packet filter's chains")?;
    Ok(chains.iter().filter_map(table_if_drops_forwarded).collect())
}

/// Names of all tables in the network namespace of the calling thread.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel.
pub fn tables() -> Result<Vec<String>> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let all = NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() });
    let tables = Netlink::netfilter()
        .and_then(|mut netlink| netlink.dump(NetfilterMessage::new(header, all)))
        .context("list", "the packet filter's tables")?;
    Ok(tables.iter().filter_map(table_name).collect())
}

fn table_name(message: &NetfilterMessage) -> Option<String> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) = &message.inner else {
        return None;
    };
    table.attributes.iter().find_map(|attribute| match attribute {
        TableAttribute::Name(name) => Some(name.clone()),
        _ => None,
    })
}

fn table_if_drops_forwarded(message: &NetfilterMessage) -> Option<String> {
    let family = message.header.family;
    let routed =
        [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6, NetfilterProtoFamily::Inet];
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) = &message.inner else {
        return None;
    };
    let drops = chain.attributes.contains(&ChainAttribute::Policy(NF_DROP));
    let at_forward = chain.attributes.iter().any(|attribute| match attribute {
        ChainAttribute::Hook(hooks) => {
            hooks.contains(&Hook::Number(HookNumber::Inet(InetHookNumber::Forward)))
        }
        _ => false,
    });
    let table = chain.attributes.iter().find_map(|attribute| match attribute {
        ChainAttribute::Table(name) => Some(name.clone()),
        _ => None,
    });
    table.filter(|_| routed.contains(&family) && drops && at_forward)
}
