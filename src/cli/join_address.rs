//! Where other hosts join: the controller's address and port, for the lines that are printed to be pasted elsewhere.

use serde_json::Value;

use super::controller_access::Access;
use super::{Failure, this_host};
use crate::config::{MasterAddress, Settings};
use crate::logging::escape;
use crate::protocol::registration::RawRequest;

/// Asks the controller where nodes reach it. An administrator elsewhere reaches it the same way.
///
/// # Errors
/// If the controller cannot be asked, or nothing tells an address.
pub(super) async fn find(access: &Access, settings: &Settings) -> Result<String, Failure> {
    match access {
        Access::Remote { controller, .. } => Ok(controller.to_string()),
        Access::Socket(_) => {
            let request = RawRequest { action: "status".to_owned(), ..RawRequest::default() };
            let status = access.ask(&request).await?;
            if let Some(told) = told(&status, settings.master.listen.port()) {
                return Ok(told);
            }
            let own = this_host::address(settings.master.advertise_addr, "--advertise-addr")?;
            Ok(format!("{own}:{}", settings.master.listen.port()))
        }
    }
}

/// What the controller says of itself: its own address, or else the host of the Swarm's manager that it names, at the
/// port of the settings.
fn told(status: &Value, port: u16) -> Option<String> {
    let own = status["Controller"]["Address"].as_str().and_then(|text| MasterAddress::parse(text).ok());
    let manager = || {
        let manager = status["Swarm"]["Manager"].as_str().and_then(|text| MasterAddress::parse(text).ok())?;
        Some(MasterAddress { port, ..manager })
    };
    own.or_else(manager).map(|address| address.to_string())
}

/// The line that joins a host.
#[must_use]
pub(super) fn join_line(address: &str, token: Option<&str>) -> String {
    let token = token.map(|token| format!(" --token {}", escape::line(token))).unwrap_or_default();
    format!("clusterctl node join --master {}{token}", escape::line(address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_controller_knows_best() {
        let manager = json!({"Swarm": {"State": "ready", "Manager": "10.0.0.1:2377"}});
        assert_eq!(told(&manager, 7001).as_deref(), Some("10.0.0.1:7001"));
        let both = json!({"Controller": {"Address": "10.0.0.5:7002"}, "Swarm": {"Manager": "10.0.0.1:2377"}});
        assert_eq!(told(&both, 7001).as_deref(), Some("10.0.0.5:7002"));
        for nothing in [json!({}), json!({"Swarm": {"Manager": ""}}), json!({"Swarm": {"Message": "no leader"}})] {
            assert_eq!(told(&nothing, 7000), None, "{nothing}");
        }
    }

    #[test]
    fn lines_are_to_be_pasted() {
        assert_eq!(join_line("10.0.0.1:7000", None), "clusterctl node join --master 10.0.0.1:7000");
        assert_eq!(join_line("h1:7000", Some("CCTL1-a")), "clusterctl node join --master h1:7000 --token CCTL1-a");
    }
}
