//! The controller as a whole, over its sockets: what it answers, what it writes down and what it keeps.

mod actions;
mod adoption;
mod approval;
mod disk;
mod door;
mod gate;
mod identity;
mod legacy;
mod limits;
mod refusals;
mod secrets;
mod tokens;
mod trouble;

use serde_json::{Value, json};

use crate::world::{Host, Settings, World};

/// `request` with other fields.
fn with(mut request: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    request.as_object_mut().unwrap().extend(fields);
    request
}

/// Asks how things stand for a host.
fn check_status(host: &Host) -> Value {
    json!({"Action": "check-status", "Hostname": host.name, "NodeId": host.node_id(), "Protocol": 1})
}
