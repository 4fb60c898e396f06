//! The lab itself: that its hosts are hosts, that faults are faults, and that nothing stays behind.
#![expect(clippy::unwrap_used, reason = "a test's panic is its report")]

mod harness;

use std::path::Path;
use std::time::Duration;

use clusterctl::providers::command::CommandError;

pub(crate) use harness::{Lab, Said, clusterctl_lab, name_for, run, usable, wait_for};

/// Whether host `from` reaches the glusterd of host `to`.
fn reaches(lab: &Lab, from: u8, to: u8) -> bool {
    let connect = format!("exec 3<>/dev/tcp/h{to}/24007");
    lab.exec(from, &["timeout", "2", "bash", "-c", &connect]).success()
}

/// What a lab called `name` has on the machine: mounts, control groups, processes, its directory.
fn traces(name: &str) -> Vec<String> {
    let dir = format!("{}/{name}", clusterctl::lab::DEFAULT_DIR);
    let mut found = Vec::new();
    if Path::new(&dir).exists() {
        found.push(dir.clone());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&format!("{dir}/"))).map(str::to_owned));
    let starters = clusterctl::lab::processes::starters_below(Path::new(&dir));
    found.extend(starters.iter().map(|pid| format!("process {pid}")));
    for entry in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let group = entry.path().join("clusterctl-lab").join(name);
        if group.exists() {
            found.push(group.display().to_string());
        }
    }
    let group = Path::new("/sys/fs/cgroup/clusterctl-lab").join(name);
    if group.exists() {
        found.push(group.display().to_string());
    }
    found
}

/// Two hosts from power on to nothing left: their own names, identities and daemons; a cut that heals; a power cut after
/// which the disk is the old one and the boot a new one.
#[test]
fn hosts_live_fail_recover_and_go() {
    if !usable("hosts_live_fail_recover_and_go") {
        return;
    }
    let lab = Lab::up("lab-life", 2);
    let name = lab.name().to_owned();

    assert_eq!(lab.ok(1, &["hostname"]), "h1");
    assert_eq!(lab.ok(2, &["docker", "info", "--format", "{{.Name}}"]), "h2");
    assert_eq!(lab.ok(1, &["cat", "/proc/1/comm"]), "systemd");
    assert!(lab.ok(2, &["getent", "hosts", "h1"]).starts_with(&lab.host_ip(1).to_string()));
    assert_ne!(lab.ok(1, &["cat", "/etc/machine-id"]), lab.ok(2, &["cat", "/etc/machine-id"]));
    assert!(lab.ok(1, &["clusterctl", "--help"]).contains("lab"));
    assert_eq!(lab.exec(1, &["bash", "-c", "exit 7"]).code, Some(7));
    assert_eq!(run(lab.invocation(1, &["cat"]).stdin("in")).unwrap().stdout_text(), "in");
    // A lab that is up stays as it is; one of another size is refused.
    let again = run(clusterctl_lab(&["up", "--hosts", "2", "--name", &name])).unwrap();
    assert!(again.success() && again.stdout_text().contains("is up already"), "{again:?}");
    assert!(!run(clusterctl_lab(&["up", "--hosts", "3", "--name", &name])).unwrap().success());

    // Gluster probes by name without waiting for a name server, and what it stores lies on the host's own disk.
    lab.ok(1, &["gluster", "--mode=script", "peer", "probe", "h2"]);
    lab.ok(2, &["mkdir", "-p", "/data/brick"]);
    lab.ok(2, &["setfattr", "-n", "trusted.test", "-v", "1", "/data/brick"]);

    assert!(reaches(&lab, 1, 2));
    lab.cut(2);
    assert!(!reaches(&lab, 1, 2));
    assert_eq!(lab.status()[1]["connected"], false);
    assert_eq!(lab.ok(2, &["hostname"]), "h2");
    lab.heal(2);
    wait_for("h1 reaches h2 again", Duration::from_secs(30), || reaches(&lab, 1, 2));

    let boot = ["cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id"];
    let before = lab.ok(2, &boot);
    lab.kill(2);
    assert_eq!(lab.status()[1]["systemd"], "off");
    assert!(!lab.exec(2, &["true"]).success());
    assert_eq!(lab.status()[0]["dockerd"], true);
    lab.start(2);
    let after = lab.ok(2, &boot);
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    assert!(before[0] != after[0] && before[1] == after[1], "{before:?} {after:?}");
    lab.ok(2, &["getfattr", "-n", "trusted.test", "/data/brick"]);
    wait_for("the peer is connected again", Duration::from_secs(30), || {
        lab.ok(1, &["gluster", "--mode=script", "peer", "status"]).contains("Peer in Cluster (Connected)")
    });

    drop(lab);
    assert_eq!(traces(&name), Vec::<String>::new());
}

/// `up` that is killed leaves nothing that `down` does not find, wherever it was.
#[test]
fn a_killed_up_is_cleared() {
    if !usable("a_killed_up_is_cleared") {
        return;
    }
    let name = name_for("lab-killed");
    for moment in [40, 150, 400, 900] {
        let up = clusterctl_lab(&["up", "--hosts", "2", "--name", &name]).deadline(Duration::from_millis(moment));
        match run(up) {
            // On the deadline the whole process group is killed with SIGKILL.
            Err(CommandError::TimedOut { .. }) => {
                assert!(!run(clusterctl_lab(&["status", "--name", &name])).unwrap().success());
            }
            Ok(output) => assert!(output.success(), "{output:?}"),
            Err(error) => panic!("{error}"),
        }
        let down = run(clusterctl_lab(&["down", "--name", &name])).unwrap();
        assert!(down.success(), "{down:?}");
        assert_eq!(traces(&name), Vec::<String>::new(), "killed after {moment} ms");
    }
}

/// The layout of machines of today, tried on one that has the v1 hierarchies too.
#[test]
fn a_host_runs_on_cgroup_v2_alone() {
    if !usable("a_host_runs_on_cgroup_v2_alone") {
        return;
    }
    let lab = Lab::up_with("lab-unified", 1, &["--cgroup-v2"]);
    assert_eq!(lab.ok(1, &["docker", "info", "--format", "{{.CgroupVersion}}"]), "2");
    assert_eq!(lab.ok(1, &["stat", "-f", "-c", "%T", "/sys/fs/cgroup"]), "cgroup2fs");
}
