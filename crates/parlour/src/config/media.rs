//! What the file says of media.

use parlour_msrp::Matching;
use parlour_proto::config::{Cema, MediaSecurity};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FileMediaSecurity {
    AllowPlain,
    PreferTls,
    RequireTls,
}

impl From<FileMediaSecurity> for MediaSecurity {
    fn from(security: FileMediaSecurity) -> Self {
        match security {
            FileMediaSecurity::AllowPlain => MediaSecurity::AllowPlain,
            FileMediaSecurity::PreferTls => MediaSecurity::PreferTls,
            FileMediaSecurity::RequireTls => MediaSecurity::RequireTls,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FileCema {
    Auto,
    Strict,
    Lenient,
    Off,
}

impl From<FileCema> for Cema {
    fn from(cema: FileCema) -> Self {
        match cema {
            FileCema::Auto => Cema::Auto,
            FileCema::Strict => Cema::Strict,
            FileCema::Lenient => Cema::Lenient,
            FileCema::Off => Cema::Off,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FileSessmatch {
    SessionId,
    Strict,
}

impl From<FileSessmatch> for Matching {
    fn from(matching: FileSessmatch) -> Self {
        match matching {
            FileSessmatch::SessionId => Matching::SessionId,
            FileSessmatch::Strict => Matching::Strict,
        }
    }
}
