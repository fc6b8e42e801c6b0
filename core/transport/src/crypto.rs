//! The one provider of ciphers and hashes: chosen here, never by a default that other crates of the build could change.

use rtc_crypto::providers::AwsLcRsProvider;

/// aws-lc-rs, which DTLS and token checks use as well: one library for all of it.
pub(crate) fn provider() -> AwsLcRsProvider {
    AwsLcRsProvider::new()
}
