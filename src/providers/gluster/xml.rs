//! What `gluster --xml` prints, as values. Pure: bytes in, values out.
//!
//! Recorded answers of GlusterFS 10.3 lie under `tests/fixtures/gluster`. With `--xml` the exit code is 0 for refusals
//! too; only `opRet` tells. When glusterd is down, standard output is a plain sentence and no XML at all. Numbers are
//! taken as text and converted late, and elements that should come once are lists, since versions differ in both.

use std::time::Duration;

use serde::Deserialize;

use super::refusal::{classify, says_already_started, says_no_such_volume};
use super::{Brick, BrickStatus, GlusterError, Peer, Volume, VolumeStatus};

/// What was run, so that an error can say it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The command as a line: `gluster volume info shared`.
    pub command: &'a str,
    /// The server that it is about, if one.
    pub host: Option<&'a str>,
    /// How long it took or could take; for "Request timed out".
    pub deadline: Duration,
}

#[derive(Debug, Deserialize)]
struct CliOutput {
    #[serde(rename = "opRet")]
    op_ret: i64,
    #[serde(rename = "opErrno", default)]
    op_errno: i64,
    #[serde(rename = "opErrstr", default)]
    op_errstr: String,
    #[serde(default)]
    output: String,
    #[serde(rename = "peerStatus")]
    peer_status: Option<PeerStatusXml>,
    #[serde(rename = "volInfo")]
    vol_info: Option<VolInfoXml>,
    #[serde(rename = "volStatus")]
    vol_status: Option<VolStatusXml>,
    #[serde(rename = "volList")]
    vol_list: Option<VolListXml>,
    #[serde(rename = "volGetopts")]
    vol_getopts: Option<VolGetoptsXml>,
}

#[derive(Debug, Deserialize)]
struct VolListXml {
    #[serde(default)]
    volume: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct VolGetoptsXml {
    #[serde(rename = "Opt", default)]
    opt: Vec<OptXml>,
}

#[derive(Debug, Deserialize)]
struct OptXml {
    #[serde(rename = "Option", default)]
    option: String,
    #[serde(rename = "Value", default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct PeerStatusXml {
    #[serde(default)]
    peer: Vec<PeerXml>,
}

#[derive(Debug, Deserialize)]
struct PeerXml {
    uuid: String,
    #[serde(default)]
    hostname: Vec<String>,
    connected: String,
    state: Option<String>,
    #[serde(rename = "stateStr")]
    state_str: Option<String>,
}

#[derive(Debug, Deserialize)]
struct VolInfoXml {
    volumes: VolumesXml,
}

#[derive(Debug, Deserialize)]
struct VolumesXml {
    #[serde(default)]
    volume: Vec<VolumeXml>,
}

#[derive(Debug, Deserialize)]
struct VolumeXml {
    name: String,
    id: String,
    status: String,
    #[serde(rename = "replicaCount")]
    replica_count: String,
    #[serde(rename = "arbiterCount", default)]
    arbiter_count: String,
    bricks: BricksXml,
    options: Option<OptionsXml>,
}

#[derive(Debug, Deserialize)]
struct BricksXml {
    #[serde(default)]
    brick: Vec<BrickXml>,
}

#[derive(Debug, Deserialize)]
struct BrickXml {
    name: String,
}

#[derive(Debug, Deserialize)]
struct OptionsXml {
    #[serde(default)]
    option: Vec<OptionXml>,
}

#[derive(Debug, Deserialize)]
struct OptionXml {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct VolStatusXml {
    volumes: StatusVolumesXml,
}

#[derive(Debug, Deserialize)]
struct StatusVolumesXml {
    #[serde(default)]
    volume: Vec<StatusVolumeXml>,
}

#[derive(Debug, Deserialize)]
struct StatusVolumeXml {
    #[serde(default)]
    node: Vec<NodeXml>,
}

#[derive(Debug, Deserialize)]
struct NodeXml {
    #[serde(default)]
    hostname: Vec<String>,
    #[serde(default)]
    path: String,
    #[serde(default)]
    status: String,
    #[serde(rename = "sizeTotal", default)]
    size_total: String,
    #[serde(rename = "sizeFree", default)]
    size_free: String,
}

/// Reads the pool out of `gluster --xml pool list` (10.3):
///
/// ```text
/// <peer> <uuid>44189afa-...</uuid> <hostname>10.203.77.12</hostname> <hostnames>...</hostnames>
///   <connected>1</connected> <state>3</state> <stateStr>Peer in Cluster</stateStr> </peer>
/// <peer> <uuid>cda8edd4-...</uuid> <hostname>localhost</hostname> <connected>1</connected> </peer>
/// ```
/// This host itself has no state; it is given that of a member.
///
/// # Errors
/// If GlusterFS refused, or if the answer has another shape.
pub fn peers(stdout: &[u8], asked: Asked<'_>) -> Result<Vec<Peer>, GlusterError> {
    let Some(status) = accepted(stdout, asked)?.peer_status else {
        return Err(asked.unreadable("no `peerStatus`"));
    };
    status.peer.into_iter().map(|peer| read_peer(peer, asked)).collect()
}

fn read_peer(peer: PeerXml, asked: Asked<'_>) -> Result<Peer, GlusterError> {
    let hostname = peer.hostname.into_iter().next().unwrap_or_default();
    let itself = hostname == "localhost";
    let state = match peer.state {
        Some(text) => asked.number("state", &text)?,
        None if itself => MEMBER,
        None => 0,
    };
    let state_text = peer.state_str.unwrap_or_else(|| if itself { "Peer in Cluster".into() } else { String::new() });
    Ok(Peer { uuid: peer.uuid, hostname, connected: peer.connected.trim() == "1", state, state_text })
}

/// GlusterFS's number for "Peer in Cluster".
const MEMBER: u32 = 3;

/// Reads one volume out of `gluster --xml volume info NAME` (10.3); `None` if no volume has that name:
///
/// ```text
/// <volume> <name>shared</name> <id>13e38a26-...</id> <status>1</status> <statusStr>Started</statusStr> ...
///   <replicaCount>3</replicaCount> <arbiterCount>0</arbiterCount> ...
///   <bricks> <brick uuid="cda8edd4-...">10.203.77.11:/data/b/shared<name>10.203.77.11:/data/b/shared</name> ...
///   <options> <option> <name>nfs.disable</name> <value>on</value> </option> ...
/// ```
///
/// # Errors
/// If GlusterFS refused, or if the answer has another shape.
pub fn volume(stdout: &[u8], name: &str, asked: Asked<'_>) -> Result<Option<Volume>, GlusterError> {
    let output = read(stdout, asked)?;
    if output.op_ret != 0 && says_no_such_volume(output.op_errno, &output.op_errstr) {
        return Ok(None);
    }
    let Some(info) = accept(output, asked)?.vol_info else {
        return Err(asked.unreadable("no `volInfo`"));
    };
    let found = info.volumes.volume.into_iter().find(|volume| volume.name == name);
    found.map(|volume| read_volume(volume, asked)).transpose()
}

fn read_volume(volume: VolumeXml, asked: Asked<'_>) -> Result<Volume, GlusterError> {
    let status = match volume.status.trim() {
        "0" => VolumeStatus::Created,
        "1" => VolumeStatus::Started,
        "2" => VolumeStatus::Stopped,
        other => return Err(asked.unreadable(&format!("volume status {other:?}"))),
    };
    let arbiter = if volume.arbiter_count.is_empty() { "0" } else { &volume.arbiter_count };
    Ok(Volume {
        id: volume.id,
        status,
        // Some versions say 0 where there are no copies.
        replica: asked.number("replicaCount", &volume.replica_count)?.max(1),
        arbiter: asked.number("arbiterCount", arbiter)?,
        bricks: volume.bricks.brick.iter().map(|brick| read_brick(&brick.name, asked)).collect::<Result<_, _>>()?,
        options: volume.options.into_iter().flat_map(|o| o.option).map(|o| (o.name, o.value)).collect(),
        name: volume.name,
    })
}

fn read_brick(name: &str, asked: Asked<'_>) -> Result<Brick, GlusterError> {
    match name.split_once(":/") {
        Some((host, path)) => Ok(Brick { host: host.to_owned(), path: format!("/{path}") }),
        None => Err(asked.unreadable(&format!("brick {name:?}"))),
    }
}

/// Reads the bricks' processes out of `gluster --xml volume status NAME detail` (10.3), or the same without `detail`:
///
/// ```text
/// <node> <hostname>10.203.77.11</hostname> <path>/data/b/shared</path> <peerid>cda8edd4-...</peerid>
///   <status>1</status> <port>50179</port> ... <pid>298</pid>
///   <sizeTotal>270553174016</sizeTotal> <sizeFree>238401683456</sizeFree> <device>/dev/vda</device> ... </node>
/// <node> <hostname>Self-heal Daemon</hostname> <path>localhost</path> ... </node>
/// ```
/// Daemons are among the nodes where there are no details, told apart by a path that is none. Bricks of servers that
/// are not connected are missing.
///
/// # Errors
/// If GlusterFS refused (also when the volume is not started), or if the answer has another shape.
pub fn brick_status(stdout: &[u8], asked: Asked<'_>) -> Result<Vec<BrickStatus>, GlusterError> {
    let Some(status) = accepted(stdout, asked)?.vol_status else {
        return Err(asked.unreadable("no `volStatus`"));
    };
    let nodes = status.volumes.volume.into_iter().flat_map(|volume| volume.node);
    let brick = |node: NodeXml| {
        let host = node.hostname.into_iter().next().filter(|_| node.path.starts_with('/'))?;
        let used_percent = used_percent(&node.size_total, &node.size_free);
        Some(BrickStatus { brick: Brick { host, path: node.path }, online: node.status.trim() == "1", used_percent })
    };
    Ok(nodes.filter_map(brick).collect())
}

/// How full a file system of so many bytes is, rounded up.
fn used_percent(total: &str, free: &str) -> Option<u8> {
    let (total, free) = (total.trim().parse::<u64>().ok()?, free.trim().parse::<u64>().ok()?);
    let used = u128::from(total.checked_sub(free)?);
    u8::try_from((used * 100).div_ceil(u128::from(total).max(1))).ok()
}

/// Reads names out of `gluster --xml volume list` (10.3):
///
/// ```text
/// <volList> <count>1</count> <volume>shared</volume> </volList>
/// ```
///
/// # Errors
/// If GlusterFS refused, or if the answer has another shape.
pub fn volume_names(stdout: &[u8], asked: Asked<'_>) -> Result<Vec<String>, GlusterError> {
    accepted(stdout, asked)?.vol_list.map(|list| list.volume).ok_or_else(|| asked.unreadable("no `volList`"))
}

/// Reads the ids of all volumes out of `gluster --xml volume info all` (10.3), which is of the form that [`volume`] reads.
///
/// # Errors
/// If GlusterFS refused, or if the answer has another shape.
pub fn volume_ids(stdout: &[u8], asked: Asked<'_>) -> Result<Vec<String>, GlusterError> {
    let Some(info) = accepted(stdout, asked)?.vol_info else { return Err(asked.unreadable("no `volInfo`")) };
    Ok(info.volumes.volume.into_iter().map(|volume| volume.id).collect())
}

/// Reads a number out of `gluster --xml volume get all cluster.op-version` (10.3):
///
/// ```text
/// <volGetopts> <count>1</count> <Opt> <Option>cluster.op-version</Option> <Value>100000</Value> </Opt> </volGetopts>
/// ```
///
/// # Errors
/// If GlusterFS refused, or if the answer has another shape.
pub fn level(stdout: &[u8], option: &str, asked: Asked<'_>) -> Result<u32, GlusterError> {
    let options = accepted(stdout, asked)?.vol_getopts.map(|found| found.opt).unwrap_or_default();
    match options.into_iter().find(|found| found.option == option) {
        Some(found) => asked.number(option, &found.value),
        None => Err(asked.unreadable(&format!("no `{option}`"))),
    }
}

/// Reads whether a change was made:
///
/// ```text
/// <cliOutput> <opRet>-1</opRet> <opErrno>30800</opErrno> <opErrstr>Host 10.203.77.13 not connected</opErrstr> ...
/// <cliOutput> <opRet>0</opRet> <opErrno>2</opErrno> <opErrstr/> <output>Host 10.203.77.12 port 24007 already in peer list</output>
/// ```
///
/// # Errors
/// If GlusterFS refused, or if the answer has another shape.
pub fn done(stdout: &[u8], asked: Asked<'_>) -> Result<(), GlusterError> {
    accepted(stdout, asked).map(drop)
}

/// Like [`done`], for `volume start`: that it is started already is no refusal.
///
/// # Errors
/// As [`done`].
pub fn started(stdout: &[u8], asked: Asked<'_>) -> Result<(), GlusterError> {
    let output = read(stdout, asked)?;
    if output.op_ret != 0 && says_already_started(&output.op_errstr) {
        return Ok(());
    }
    accept(output, asked).map(drop)
}

fn accepted(stdout: &[u8], asked: Asked<'_>) -> Result<CliOutput, GlusterError> {
    accept(read(stdout, asked)?, asked)
}

fn accept(output: CliOutput, asked: Asked<'_>) -> Result<CliOutput, GlusterError> {
    if output.op_ret == 0 {
        return Ok(output);
    }
    let text = if output.op_errstr.is_empty() { &output.output } else { &output.op_errstr };
    Err(classify(asked.command, asked.host, output.op_errno, text))
}

fn read(stdout: &[u8], asked: Asked<'_>) -> Result<CliOutput, GlusterError> {
    let text = String::from_utf8_lossy(stdout);
    if !text.trim_start().starts_with('<') {
        return Err(asked.plain_text(text.trim()));
    }
    quick_xml::de::from_str(&text).map_err(|error| asked.unreadable(&error.to_string()))
}

impl Asked<'_> {
    /// The error behind an answer that is a sentence (10.3, exit code 1):
    ///
    /// ```text
    /// Connection failed. Please check if gluster daemon is operational.
    /// Error : Request timed out
    /// ```
    fn plain_text(self, text: &str) -> GlusterError {
        if text.contains("Connection failed") {
            return GlusterError::DaemonDown;
        }
        if text.contains("Request timed out") {
            return GlusterError::TimedOut { command: self.command.to_owned(), deadline: self.deadline };
        }
        let start: String = text.chars().take(200).collect();
        self.unreadable(if start.is_empty() { "no output" } else { &start })
    }

    fn unreadable(self, message: &str) -> GlusterError {
        GlusterError::Unreadable { command: self.command.to_owned(), message: message.to_owned() }
    }

    fn number(self, element: &str, text: &str) -> Result<u32, GlusterError> {
        text.trim().parse().map_err(|_| self.unreadable(&format!("`{element}` is {text:?}")))
    }
}

#[cfg(test)]
mod tests;
