//! Names to addresses, by the system's resolver (A and AAAA); services to addresses, by its name servers (SRV).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;

/// SRV records of one name that are looked at.
const MOST: usize = 16;
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

/// Where a service of `name` is, in the order in which to try (RFC 2782): empty if its records lead nowhere or say that
/// there is no such service, `None` if it has none, or none in time.
pub(crate) async fn locate(service: &str, name: &str) -> Option<Vec<SocketAddr>> {
    let name = format!("{service}.{}.", name.trim_end_matches('.'));
    let records = match tokio::time::timeout(PATIENCE, records(&name)).await {
        Ok(Ok(records)) if records.is_empty() => return None,
        Ok(Ok(records)) => records,
        Ok(Err(error)) => {
            tracing::debug!(name = %parlour_proto::text::neutral(&name), %error, "no SRV records");
            return None;
        }
        Err(_) => {
            tracing::warn!(name = %parlour_proto::text::neutral(&name), "no SRV records for this name in 10 s");
            return None;
        }
    };
    // All at once: a name that nobody knows does not hold the others up.
    let targets = in_order(usable(records), |bound| getrandom::u32().unwrap_or(0) % bound);
    let targets = targets.into_iter().map(|Srv { target, port, .. }| {
        tokio::spawn(async move {
            let found = resolve(&target).await.into_iter();
            found.map(|address| SocketAddr::new(address, port)).collect::<Vec<_>>()
        })
    });
    let mut addresses = Vec::new();
    for target in targets.collect::<Vec<_>>() {
        addresses.extend(target.await.unwrap_or_default());
    }
    Some(addresses)
}

/// RFC 2782: a target of "." says that the service is not to be had.
fn usable(records: Vec<Srv>) -> Vec<Srv> {
    records.into_iter().filter(|srv| srv.target != "." && srv.port != 0).collect()
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

async fn records(name: &str) -> Result<Vec<Srv>, hickory_resolver::net::NetError> {
    let resolver = TokioResolver::builder_tokio()?.build()?;
    let found = resolver.srv_lookup(name).await?;
    let records = found.answers().iter().filter_map(|record| {
        // What else an answer holds, such as an alias, has been followed.
        let RData::SRV(srv) = &record.data else { return None };
        let target = srv.target.to_ascii();
        Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target })
    });
    Ok(records.take(MOST).collect())
}

/// RFC 2782: by priority, and among equals by chance, with chances that grow with the weight.
fn in_order(mut records: Vec<Srv>, mut dice: impl FnMut(u32) -> u32) -> Vec<Srv> {
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.iter().map(|srv| srv.priority).min() {
        let total: u32 = records.iter().filter(|srv| srv.priority == priority).map(chance).sum();
        let mut left = dice(total.max(1));
        let chosen = records.iter().position(|srv| {
            let own = srv.priority == priority;
            let hit = own && left < chance(srv);
            left = if own { left.saturating_sub(chance(srv)) } else { left };
            hit
        });
        let at = chosen.or_else(|| records.iter().position(|srv| srv.priority == priority));
        ordered.extend(at.map(|at| records.remove(at)));
    }
    ordered
}

/// A record without weight is chosen now and then too.
fn chance(srv: &Srv) -> u32 {
    u32::from(srv.weight).saturating_mul(16).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srv_records_are_tried_by_priority_and_weight() {
        let srv =
            |priority, weight, target: &str| Srv { priority, weight, port: 2855, target: target.into() };
        let records = vec![srv(1, 0, "b."), srv(0, 1, "light."), srv(0, 9, "heavy."), srv(2, 0, "c.")];
        let order = |dice: u32| -> Vec<String> {
            in_order(records.clone(), |bound| dice.min(bound - 1)).into_iter().map(|srv| srv.target).collect()
        };
        assert_eq!(order(0), ["light.", "heavy.", "b.", "c."]);
        assert_eq!(order(17), ["heavy.", "light.", "b.", "c."]);
        let firsts = (0..162).filter(|dice| order(*dice)[0] == "heavy.").count();
        assert_eq!(firsts, 145, "of 17 and 145 chances");
    }

    #[test]
    fn a_service_that_is_not_to_be_had_has_no_targets() {
        let srv = |port, target: &str| Srv { priority: 0, weight: 0, port, target: target.into() };
        assert_eq!(usable(vec![srv(2855, "."), srv(0, "a."), srv(9000, "b.")]), [srv(9000, "b.")]);
        assert_eq!(usable(vec![srv(0, ".")]), []);
    }

    #[tokio::test]
    async fn localhost_is_here_and_an_invalid_name_is_nowhere() {
        assert!(resolve("localhost").await.iter().all(IpAddr::is_loopback));
        assert_eq!(resolve("no-such-name.invalid").await, Vec::<IpAddr>::new());
    }
}
