//! The command line as a whole: every command parses, has help with examples, and sets keys that exist.

use clap::CommandFactory;

use super::*;

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

fn walk(command: &clap::Command, path: &str, visit: &mut impl FnMut(&str, &clap::Command)) {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        let path = format!("{path} {}", inner.get_name());
        visit(&path, inner);
        walk(inner, &path, visit);
    }
}

#[test]
fn every_command_and_flag_has_help_and_commands_have_examples() {
    walk(&Cli::command(), PROGRAM, &mut |path, command| {
        assert!(command.get_about().is_some(), "{path}");
        let lab = path.contains(" lab");
        let plain = path.ends_with(" version");
        assert!(lab || plain || command.get_after_help().is_some(), "{path} has no examples");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path} {argument}");
        }
    });
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

/// S2-11 to S2-13, S2-36 to S2-49: every command and flag of the specification.
#[test]
fn parses_the_specifications_commands() {
    for line in [
        "clusterctl master init --config /etc/x.yaml --overlay-provider netbird --overlay-config /etc/o.json --enable-glusterfs --state-dir /var/x --advertise-addr 10.0.0.1",
        "clusterctl master serve --listen 0.0.0.0:7000 --min-managers 1 --min-workers 2 --wait-for-minimum --disable-glusterfs",
        "clusterctl --config x.yaml node join --master 10.0.0.1:7000 --role manager --ip 10.0.0.2 --hostname h2 --dry-run",
        "clusterctl node join --master 10.0.0.1:7000 --overlay-provider none --disable-glusterfs",
        "clusterctl master serve --wait-for-minimum=false --arbiter --allow-root-brick=true --replica 3",
        "clusterctl master status --output json",
        "clusterctl master reset --yes",
        "clusterctl node leave",
        "clusterctl node status -o yaml",
        "clusterctl ip --explain",
        "clusterctl config show",
        "clusterctl completions bash",
        "clusterctl man /tmp",
        "clusterctl version",
        "clusterctl probe-mount /mnt/shared",
        "clusterctl node remove h3",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn parses_the_commands_of_administration() {
    for line in [
        "clusterctl token create",
        "clusterctl token create --role manager --profile core --profile dns --node h3 --uses 3 --expires 7d",
        "clusterctl token list -o json --admin-cert alice.json --controller 10.0.0.1:7000",
        "clusterctl token revoke K3X5Q7AB",
        "clusterctl request list --output yaml",
        "clusterctl request approve k3x5q7ab --role worker --profile core",
        "clusterctl request reject k3x5q7ab --reason x",
        "clusterctl node list --admin-cert alice.json",
        "clusterctl node show abcdefghijklmnopqrstuvwxyz",
        "clusterctl node remove h3 --force --yes",
        "clusterctl node replace h3",
        "clusterctl node join --master h1 --token-file -",
        "clusterctl node join --master h1 --token CCTL1-x",
        "clusterctl master status --controller h1",
        "clusterctl master cert show",
        "clusterctl master cert rotate --yes",
        "clusterctl master cert rotate --now --yes",
        "clusterctl master admin create alice --out alice.json",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn refuses_what_contradicts_itself() {
    for line in [
        "clusterctl",
        "clusterctl master",
        "clusterctl master init --enable-glusterfs --disable-glusterfs",
        "clusterctl node join --role boss",
        "clusterctl master serve --overlay-provider zerotier",
        "clusterctl master serve --log-level info --quiet",
        "clusterctl node join --min-workers 2",
        "clusterctl nodes",
        "clusterctl token create --role boss",
        "clusterctl token create --profile Core",
        "clusterctl token create --uses 0",
        "clusterctl token create --expires 24",
        "clusterctl token create --node -x",
        "clusterctl token revoke",
        "clusterctl token revoke CCTL1-x",
        "clusterctl request approve h3",
        "clusterctl request reject k3x5q7ab",
        "clusterctl node show a_b",
        "clusterctl node join --token x --token-file y",
        "clusterctl node join --admin-cert alice.json",
        "clusterctl master admin create alice",
        "clusterctl master admin create a/b --out x",
        "clusterctl master cert",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn help_fits_terminals() {
    walk(&Cli::command(), PROGRAM, &mut |path, command| {
        // Texts are one line for each paragraph, so that they wrap to any width; examples fit the narrowest.
        let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        assert!(long.split("\n\n").all(|paragraph| !paragraph.contains('\n')), "{path}: {long}");
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in after.lines() {
            assert!(line.chars().count() <= 80, "{path}: {line}");
        }
    });
}

/// S2-38, T15: what `--overlay-config` and `--token` say is not in anything that is printed for debugging.
#[test]
fn secrets_of_flags_are_not_shown() {
    for line in [
        "clusterctl master init --overlay-provider netbird --overlay-config canary",
        "clusterctl node join --master h1 --token canary",
    ] {
        assert!(!format!("{:?}", parse(line).unwrap()).contains("canary"), "{line}");
    }
    // Nor in what clap says about the rest of the line.
    let error = parse("clusterctl node join --token canary --token-file x").unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
}
