//! `alt-ws migrate`: makes the tables and indexes that the stores of these settings need, and says how it went.

use alt_ws::config::{Report, Variables};
use alt_ws::server::settings::store_kind;
use alt_ws::{logging, store};

use super::{CliError, print};

pub(super) fn run(variables: &Variables) -> Result<(), CliError> {
    let Report { config, .. } = Report::from_variables(variables)?;
    let failed = |error: &dyn std::fmt::Display| CliError::Runtime(error.to_string());
    // What only the operator can mend is said there.
    logging::init(config.environment, config.log_level).map_err(|error| failed(&error))?;
    store::prepare(&store_kind(&config.store, &config.data_dir)).map_err(|error| failed(&error))?;
    print("the stores are ready\n")
}
