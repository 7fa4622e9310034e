//! `alt-ws check-config`: what the settings amount to, without starting anything.

use alt_ws::config::{Report, Variables};

use super::{CliError, complain, print};

pub(super) fn run(variables: &Variables) -> Result<(), CliError> {
    let Report { settings, warnings, .. } = Report::from_variables(variables)?;
    let names = settings.iter().map(|setting| setting.name.len()).max().unwrap_or_default();
    let values = settings.iter().map(|setting| setting.value.chars().count().min(40)).max().unwrap_or_default();
    let table: String = settings
        .iter()
        .map(|setting| format!("{:names$}  {:values$}  {}\n", setting.name, setting.value, setting.source))
        .collect();
    for warning in warnings {
        complain(&format!("warning: {warning}"));
    }
    print(&table)
}
