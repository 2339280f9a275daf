//! What the operator says about machines at Fly. Read whatever `PORTER_RUNNER` is, so that a mistake is named
//! before it matters.

use secrecy::SecretString;
use url::Url;

use super::reader::Reader;

/// Machines at Fly.
#[derive(Clone, Debug)]
pub struct Fly {
    /// `FLY_API_BASE_URL`; ends in `/`, the client adds `v1/`.
    pub base_url: Url,
    /// `PORTER_SHARED_FLY_TOKEN`: for people who have not saved one.
    pub shared_token: Option<SecretString>,
    /// `PORTER_SHARED_FLY_APP`: for people who have not named one.
    pub shared_app: Option<String>,
}

/// The names of these among the variables that begin with `PORTER_SHARED_`.
pub(super) const SHARED_NAMES: [&str; 2] = ["FLY_TOKEN", "FLY_APP"];

pub(super) fn read(reader: &mut Reader<'_>) -> Option<Fly> {
    let shared_token = reader.own_text("PORTER_SHARED_FLY_TOKEN").map(SecretString::from);
    let shared_app = reader.own_text("PORTER_SHARED_FLY_APP").map(str::to_owned);
    Some(Fly { base_url: reader.url("FLY_API_BASE_URL")?, shared_token, shared_app })
}
