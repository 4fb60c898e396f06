//! The invariants over lab hosts: what the tools of Docker and GlusterFS show there, put before the checkers.
//!
//! I8 is not among them: every [`Cluster`] ends with a search for its secrets.

use std::collections::{BTreeMap, BTreeSet};

use super::{BRICK, Cluster, MOUNT};
use crate::invariants::effects::Effects;
use crate::invariants::storage::VolumeSeen;
use crate::invariants::swarm::{Entry, Seat};
use crate::invariants::{records, storage, swarm};

/// What changes something, as GlusterFS names it in its own history.
const CHANGES: &str = "volume (create|start|stop|set|reset|add-brick|remove-brick|replace-brick|delete|rebalance) \
                       |peer (probe|detach) ";

impl Cluster {
    /// I2, I3, I5, I6, I7, I11: of hosts that have all joined and are up, whose first three hold the bricks, and of files
    /// that were written to the volume, by name and checksum.
    pub(super) fn check_invariants(&self, hosts: &[u8], written: &BTreeMap<String, String>) {
        records::add_up(&self.status());
        swarm::one_for_all(&hosts.iter().map(|n| self.seat(*n)).collect::<Vec<_>>(), &self.entries());
        self.check_storage(hosts);
        for n in hosts {
            storage::files_are_kept(written, &self.sums(*n));
        }
        let before = self.effects(hosts);
        for n in hosts {
            self.nothing_to_do(*n);
        }
        self.effects(hosts).same_as(before);
    }

    fn seat(&self, n: u8) -> Seat {
        let part = self.lab.ok(n, &["docker", "info", "--format", "{{.Swarm.NodeID}} {{.Swarm.LocalNodeState}}"]);
        let (id, state) = part.split_once(' ').unwrap();
        let root = self.lab.ok(n, &["sha256sum", "/var/lib/docker/swarm/certificates/swarm-root-ca.crt"]);
        Seat {
            hostname: format!("h{n}"),
            active: state == "active",
            swarm_node_id: id.to_owned(),
            digest: root.split(' ').next().unwrap().to_owned(),
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let list = self.lab.ok(1, &["docker", "node", "ls", "--format", "{{.Hostname}} {{.ID}} {{.Status}}"]);
        let entry = |line: &str| {
            let [hostname, id, status] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            Entry { hostname: hostname.to_owned(), swarm_node_id: id.to_owned(), ready: status == "Ready" }
        };
        list.lines().map(entry).collect()
    }

    fn check_storage(&self, hosts: &[u8]) {
        let info = self.volume_info();
        let id = info.lines().find_map(|line| line.strip_prefix("Volume ID: ")).unwrap_or_else(|| panic!("{info}"));
        let bricks = info.lines().filter_map(|line| line.split_once(": ")?.1.strip_suffix(&format!(":{BRICK}")));
        let volume = VolumeSeen { id: id.to_owned(), replica: 3, bricks: bricks.map(str::to_owned).collect() };
        assert!(info.contains("Number of Bricks: 1 x 3 = 3") && volume.bricks.len() == 3, "{info}");
        storage::sets_are_whole(&volume);
        storage::marks_are_right(
            &volume,
            &hosts.iter().map(|n| (self.lab.host_ip(*n).to_string(), self.mark(*n))).collect(),
        );
        storage::one_pool(&hosts[..3].iter().map(|n| (format!("h{n}"), self.pool(*n))).collect());
    }

    /// The id of the volume that the brick of host `n` is marked for.
    fn mark(&self, n: u8) -> Option<String> {
        let get = ["getfattr", "--absolute-names", "-n", "trusted.glusterfs.volume-id", "-e", "hex", BRICK];
        let found = self.lab.exec(n, &get);
        let text = found.stdout_text();
        let (_, hex) = text.trim_end().split_once("=0x")?;
        Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
    }

    /// The ids of the servers that host `n` knows, its own among them.
    fn pool(&self, n: u8) -> BTreeSet<String> {
        let list = self.lab.ok(n, &["gluster", "--mode=script", "pool", "list"]);
        list.lines().skip(1).filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    }

    /// The checksums of the files on the volume, as host `n` reads them.
    fn sums(&self, n: u8) -> BTreeMap<String, String> {
        self.expect_mounted(n);
        let sums = self.lab.ok(n, &["sh", "-c", "cd \"$0\" && find . -type f -exec sha256sum {} +", MOUNT]);
        let sum = |line: &str| line.split_once("  ./").map(|(sum, name)| (name.to_owned(), sum.to_owned()));
        sums.lines().filter_map(sum).collect()
    }

    /// What was changed until now: memberships that the Swarm has known, commands in GlusterFS's own history, records.
    fn effects(&self, hosts: &[u8]) -> Effects {
        let count = ["sh", "-c", r#"cat /var/log/glusterfs/cmd_history.log | grep -cE "$0" || true"#, CHANGES];
        let changes = |n: &u8| self.lab.ok(*n, &count).parse::<usize>().unwrap();
        Effects {
            hosts: self.entries().len(),
            gluster: hosts.iter().map(changes).sum(),
            records: self.status()["Revision"].as_u64().unwrap(),
        }
    }
}
