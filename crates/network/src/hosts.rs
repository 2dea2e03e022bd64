//! The file `hosts` of a container (hosts(5)): our part of it, between two marks.
//!
//! What stands outside the marks is the container's own and is kept.

use std::net::IpAddr;

const BEGIN: &str = "# kept by stasis: begin";
const END: &str = "# kept by stasis: end";

/// An address and its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLine {
    pub address: IpAddr,
    pub names: Vec<String>,
}

impl HostLine {
    pub fn new(address: IpAddr, names: impl IntoIterator<Item = impl Into<String>>) -> HostLine {
        let mut unique: Vec<String> = Vec::new();
        for name in names.into_iter().map(Into::into) {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        HostLine { address, names: unique }
    }
}

/// The file with our part replaced by these lines.
pub fn render(file: &str, lines: &[HostLine]) -> String {
    let (before, after) = around(file);
    let mut text = before.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(BEGIN);
    text.push('\n');
    for line in lines {
        text.push_str(&format!("{}\t{}\n", line.address, line.names.join(" ")));
    }
    text.push_str(END);
    text.push('\n');
    text.push_str(after);
    text
}

/// What stands before and behind our part. A part without an end ends with the file.
fn around(file: &str) -> (&str, &str) {
    let Some((before, rest)) = file.split_once(BEGIN) else { return (file, "") };
    let after = rest.split_once(END).map_or("", |(_, after)| after);
    (before, after.strip_prefix('\n').unwrap_or(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_part_changes() {
        let line = |address: &str, name: &str| {
            HostLine::new(address.parse::<IpAddr>().unwrap(), [name, name])
        };
        let first = render("10.0.0.9\tmine\n", &[line("10.0.0.2", "a")]);
        let appended = first + "10.0.0.8\talso-mine\n";
        let second = render(&appended, &[line("10.0.0.3", "b")]);
        let expect = format!("10.0.0.9\tmine\n{BEGIN}\n10.0.0.3\tb\n{END}\n10.0.0.8\talso-mine\n");
        assert_eq!(second, expect);
        assert_eq!(render("", &[]), format!("{BEGIN}\n{END}\n"));
        assert_eq!(render(&format!("x\n{BEGIN}\ncut"), &[]), format!("x\n{BEGIN}\n{END}\n"));
    }
}
