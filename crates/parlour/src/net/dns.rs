//! Names to addresses, by the system's resolver (A and AAAA).

use std::net::IpAddr;
use std::time::Duration;

/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The addresses of `name` in the system's order (RFC 6724); empty if there are none, or none in time.
pub(crate) async fn resolve(name: &str) -> Vec<IpAddr> {
    match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found.map(|found| found.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            addresses
        }
        Ok(Err(error)) => {
            tracing::warn!(name = %parlour_proto::text::neutral(name), %error, "no address for this name");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!(name = %parlour_proto::text::neutral(name), "no address for this name in 10 s");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_here_and_an_invalid_name_is_nowhere() {
        assert!(resolve("localhost").await.iter().all(IpAddr::is_loopback));
        assert_eq!(resolve("no-such-name.invalid").await, Vec::<IpAddr>::new());
    }
}
