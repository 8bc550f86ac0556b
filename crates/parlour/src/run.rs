//! `parlour run`: the client.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parlour_proto::config::{Accept, Account, CoreKind, Credentials, MediaSecurity, Proxy};
use parlour_proto::io::{Service, Transport};
use rustix::process::{Resource, Rlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::agent::{Agent, Controls, Setup};
use crate::cli::{AccountFlags, Run};
use crate::config::{self, ConfigFault, Settings};
use crate::net::{Listen, route_to};
use crate::room::Room;
use crate::store::{self, Store};
use crate::{Fault, ending, json, json_front, line, log};

/// SIP's port for UDP and TCP.
const SIP_PORT: u16 = 5060;
/// MSRP's registered port.
const MSRP_PORT: u16 = 2855;
/// Where MSRP over TLS listens beside it.
const MSRPS_PORT: u16 = 2856;

/// Runs until SIGINT, SIGTERM or `quit`.
pub(crate) fn run(flags: Run) -> Result<ExitCode, Fault> {
    let mut settings = gather(&flags)?;
    raise_open_files();
    let listen = places(&settings);
    notices(&settings);
    let dir = settings.data.clone().unwrap_or_else(store::default_dir);
    let room = Room::of(&dir, settings.disk_reserve);
    let (store, answers) = if settings.store { Store::open_within(&dir, room)? } else { Store::nowhere() };
    settings.proto.instance = store.instance();
    let (run, last_seq) = (store.run(), store.last_seq());
    if let Some(after) = flags.after
        && after > last_seq
    {
        // Such a program would miss everything up to that number.
        let what = format!("--after {after}: the last event in {} has the number {last_seq}", dir.display());
        return Err(
            format!("{what}. Is this the right --data directory? --after 0 tells everything in it").into()
        );
    }
    let reader = store.reader().transpose()?;
    let addresses: Vec<String> =
        settings.proto.accounts.iter().map(|account| account.address.clone()).collect();
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let setup = Setup {
            settings,
            listen: listen.clone(),
            store: (store, answers),
            tap: None,
            echo: flags.echo,
            shows: !flags.json,
            resumes: true,
            explain: flags.explain,
        };
        let (agent, controls) = Agent::start(setup)?;
        let Controls { commands, told, stop, count, listening } = controls;
        let listening: Vec<String> = listen
            .iter()
            .zip(&listening)
            .map(|(at, local)| at.clone().bound_to(*local).to_string())
            .collect();
        for (address, at) in addresses.iter().map(|address| (address, listening.join(", "))) {
            log::say(&format!("parlour: {address}, listening on {at}"));
        }
        ending::stop_on_signals(stop.clone())?;
        count_on_signal(count)?;
        let front = if flags.json {
            tokio::spawn(json_front::stop_when_unread(stop.clone()));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            writeln!(io::stdout().lock(), "{}", json::ready_line(now, run, &addresses, &listening))
                .map_err(|error| format!("events cannot be written to stdout: {error}"))?;
            json_front::read_commands(commands)?;
            json_front::write_events(told, flags.after.unwrap_or(last_seq), last_seq, reader, stop)?
        } else {
            if let Some(notice) = reader.as_ref().and_then(line::missed_notice) {
                log::say(&format!("parlour: {notice}"));
            }
            let kept = reader.is_some();
            line::read_commands(commands, run, reader)?;
            line::print_events(told, kept)?
        };
        agent.run().await;
        match ending::all_written(front).await {
            // A reader that is gone has ended; a full disk is another matter.
            Some(Err(error)) if flags.json && error.kind() != io::ErrorKind::BrokenPipe => {
                Err(format!("events cannot be written any more: {error}").into())
            }
            Some(_) | None => Ok(ExitCode::SUCCESS),
        }
    });
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    ended
}

/// A runtime of one thread: the agent is one task.
pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Connections and large messages take a descriptor each. A login allows 1,024 and lets programs that can do with more
/// have them.
fn raise_open_files() {
    let allowed = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "no more files can be open than a login allows");
    }
}

/// SIGUSR1 has the agent say what it holds.
fn count_on_signal(count: Arc<Notify>) -> io::Result<()> {
    let mut asked = signal(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            count.notify_one();
        }
    });
    Ok(())
}

/// Sets what belongs to an account from the flags that `run` and `send` share.
pub(crate) fn apply_account(
    settings: &mut Settings,
    address: Option<String>,
    proxy: Option<Proxy>,
    flags: &AccountFlags,
    towards: Option<&str>,
) -> Result<(), ConfigFault> {
    if settings.proto.accounts.is_empty() {
        let (address, core) = (default_address(local_address(towards)), settings.core);
        settings.proto.accounts.push(Account { address, core, ..Account::default() });
    }
    let Some(account) = settings.proto.accounts.first_mut() else { return Ok(()) };
    if let Some(address) = address {
        account.address = address;
    }
    if proxy.is_some() {
        account.proxy = proxy;
    }
    if let (Some(user), Some(file)) = (&flags.user, &flags.password_file) {
        let password = config::password(file)?;
        account.credentials = Some(Credentials { username: user.clone(), password, realm: None });
    }
    Ok(())
}

/// The file, or the defaults.
pub(crate) fn settings(file: Option<&Path>) -> Result<Settings, ConfigFault> {
    file.map_or_else(|| Ok(Settings::new()), Settings::read)
}

/// The address from which packets to `host` leave; without one, or without a way, the world's or loopback.
pub(crate) fn local_address(host: Option<&str>) -> IpAddr {
    let towards = host.and_then(|host| match host.parse() {
        Ok(address) => Some(address),
        Err(_) => (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip()),
    });
    let world = IpAddr::from([192, 0, 2, 1]);
    towards.and_then(route_to).or_else(|| route_to(world)).unwrap_or(IpAddr::from(Ipv4Addr::LOCALHOST))
}

fn gather(flags: &Run) -> Result<Settings, ConfigFault> {
    let mut settings = settings(flags.config.as_deref())?;
    let towards = flags.proxy.as_ref().map(|proxy| proxy.host.clone());
    let towards = towards.or_else(|| flags.sip.first().map(|at| at.host.clone()));
    apply_account(
        &mut settings,
        flags.address.clone(),
        flags.proxy.clone(),
        &flags.account,
        towards.as_deref(),
    )?;
    if let Some(account) = settings.proto.accounts.first_mut() {
        account.register |= flags.register;
    }
    for account in &settings.proto.accounts {
        if account.register && account.proxy.is_none() {
            let how = "give --proxy HOST:PORT, or proxy in the configuration";
            return Err(ConfigFault::Flag(format!(
                "{} is to be registered, but where? {how}",
                account.address
            )));
        }
    }
    if !flags.sip.is_empty() {
        settings.sip.clone_from(&flags.sip);
    }
    if flags.msrp.is_some() {
        settings.msrp.clone_from(&flags.msrp);
    }
    if flags.msrps.is_some() {
        settings.msrps.clone_from(&flags.msrps);
    }
    settings.proto.trusted_hops.extend(&flags.trust);
    if let Some(accept) = flags.accept {
        settings.proto.accept = accept.into();
    }
    if flags.data.is_some() {
        settings.data.clone_from(&flags.data);
    }
    if flags.ca.is_some() {
        settings.tls.ca.clone_from(&flags.ca);
    }
    Ok(settings)
}

/// Where to listen: as told, else at the usual ports, or, registered, wherever there is a free one.
fn places(settings: &Settings) -> Vec<Listen> {
    let registering = settings.proto.accounts.iter().find(|account| account.register);
    let mut places = settings.sip.clone();
    if places.is_empty() {
        let sip = |transport, host: String, port| Listen { service: Service::Sip, transport, host, port };
        match registering.and_then(|account| account.proxy.as_ref()) {
            Some(proxy) => {
                places.push(sip(Transport::Udp, local_address(Some(&proxy.host)).to_string(), 0));
            }
            None => {
                places.push(sip(Transport::Udp, "0.0.0.0".into(), SIP_PORT));
                places.push(sip(Transport::Tcp, "0.0.0.0".into(), SIP_PORT));
            }
        }
    }
    let security = settings.proto.media_security;
    let everywhere =
        |transport, port| Listen { service: Service::Msrp, transport, host: "0.0.0.0".into(), port };
    // Nobody is ever told of a place that policy forbids.
    let plain = (security != MediaSecurity::RequireTls).then(|| everywhere(Transport::Tcp, MSRP_PORT));
    places.extend(settings.msrp.clone().or(plain));
    let secure = (security != MediaSecurity::AllowPlain).then(|| everywhere(Transport::Tls, MSRPS_PORT));
    places.extend(settings.msrps.clone().or(secure));
    places
}

/// What a user should know about the trust that the settings imply.
fn notices(settings: &Settings) {
    let accounts = &settings.proto.accounts;
    // In IMS nobody but the core is answered: the registrar, or who is trusted.
    let ims = |account: &Account| account.core == CoreKind::Ims;
    let deaf =
        |account: &Account| ims(account) && !account.register && settings.proto.trusted_hops.is_empty();
    if accounts.iter().any(deaf) {
        log::say(
            "parlour: warning: core = \"ims\" without register and trusted_hops: there is no core, so nobody's requests \
             are taken",
        );
    }
    if !accounts.iter().any(|account| account.register || ims(account)) {
        let vouching = if settings.proto.trusted_hops.is_empty() {
            "nobody vouches for who is calling"
        } else {
            "only trusted_hops (--trust) vouch for who is calling"
        };
        log::say(&format!(
            "parlour: direct mode: not registered anywhere, so whoever reaches this port is answered, and {vouching}"
        ));
    }
    let mut registered =
        accounts.iter().filter(|account| account.register).filter_map(|account| account.proxy.as_ref());
    let plain = registered.any(|proxy| proxy.transport != Transport::Tls);
    //= IM R-34
    if plain && settings.proto.trusted_hops.is_empty() {
        log::say(
            "parlour: registration is not over TLS, so nobody's word on who is calling is trusted: use tls: with \
             --proxy, or name the proxy's address with --trust",
        );
    }
    if settings.proto.accept == Accept::All {
        log::say("parlour: warning: every invitation is accepted, whoever it is from");
    }
}

fn default_address(local: IpAddr) -> String {
    let user: String = std::env::var("USER").unwrap_or_default();
    let plain = |user: &str| !user.is_empty() && user.bytes().all(|octet| octet.is_ascii_alphanumeric());
    let user = if plain(&user) { user.as_str() } else { "parlour" };
    match local {
        IpAddr::V4(address) => format!("sip:{user}@{address}"),
        IpAddr::V6(address) => format!("sip:{user}@[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM D-20 test
    #[test]
    fn msrp_is_taken_where_policy_allows_it_and_nowhere_else() {
        let at = |security, plain: Option<&str>, secure: Option<&str>| {
            let mut settings = Settings::new();
            settings.sip = vec!["udp:127.0.0.1:5060".parse().expect("a place")];
            settings.proto.media_security = security;
            settings.msrp = plain.map(|at| Listen::msrp(at).expect("a place"));
            settings.msrps = secure.map(|at| Listen::msrps(at).expect("a place"));
            let places = places(&settings);
            places.iter().skip(1).map(Listen::to_string).collect::<Vec<_>>().join(" ")
        };
        let (plain, both) = ("msrp:0.0.0.0:2855", "msrp:0.0.0.0:2855 msrps:0.0.0.0:2856");
        assert_eq!(at(MediaSecurity::AllowPlain, None, None), plain);
        assert_eq!(at(MediaSecurity::PreferTls, None, None), both);
        assert_eq!(at(MediaSecurity::RequireTls, None, None), "msrps:0.0.0.0:2856");
        let told = at(MediaSecurity::AllowPlain, Some("127.0.0.1:1"), Some("127.0.0.1:2"));
        assert_eq!(told, "msrp:127.0.0.1:1 msrps:127.0.0.1:2");
    }

    #[test]
    fn sip_is_taken_at_its_ports_or_who_registers_anywhere() {
        let mut settings = Settings::new();
        let sip = |settings: &Settings| {
            let places = places(settings);
            places
                .iter()
                .take_while(|at| at.service == Service::Sip)
                .map(Listen::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(sip(&settings), ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]);
        let proxy = Proxy { host: "127.0.0.1".into(), port: None, transport: Transport::Udp };
        settings.proto.accounts = vec![Account { register: true, proxy: Some(proxy), ..Account::default() }];
        assert_eq!(sip(&settings), ["udp:127.0.0.1:0"]);
    }
}
