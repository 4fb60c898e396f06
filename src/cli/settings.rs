//! `clusterctl config`: the settings that hold.

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Outcome, OutputFormat, Table};
use crate::config::sources::Loaded;

pub(super) const ABOUT: &str = "Show the settings that hold and where each comes from";

pub(super) const EXAMPLES: &str = "\
Examples:
  clusterctl config show
  clusterctl config show --config ./my.yaml
  clusterctl config show --output json";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    #[command(about = "Print every setting with its value and origin", long_about = SHOW_LONG, after_help = EXAMPLES)]
    Show,
}

const SHOW_LONG: &str = "\
Prints every setting, the value that holds, and where it comes from: the default, a line of the settings file, a \
variable of the environment, or a flag. The file goes before the defaults, the environment before the file, flags \
before both. Secrets are not shown. A setting that is unset shows as `-`.";

/// `clusterctl config show`.
pub(super) fn show(loaded: Loaded, output: OutputFormat) -> Result<Outcome, Failure> {
    if output.is_structured() {
        return Ok(Outcome::printed().body(json!({ "settings": loaded.effective })));
    }
    let mut table = Table::new(["key", "value", "origin"]);
    for setting in loaded.effective {
        table.row([setting.key.to_owned(), setting.value.unwrap_or_default(), setting.origin]);
    }
    table.print()?;
    Ok(Outcome::printed())
}
