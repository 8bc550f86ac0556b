//! A user agent server on rsipstack that takes every call: answers at once with an MSRP description, takes the BYE.
//! It prints `listening ADDRESS` and serves until it is killed. What a careful user of that crate would write.
#![expect(clippy::print_stdout, reason = "whoever started it reads the address")]
#![expect(clippy::wildcard_enum_match_arm, reason = "nobody calls it with other methods")]

use std::net::SocketAddr;
use std::sync::Arc;

use rsipstack::EndpointBuilder;
use rsipstack::dialog::DialogId;
use rsipstack::dialog::dialog::DialogState;
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::sip::{Header, Method, Scheme, StatusCode, Uri};
use rsipstack::transport::TransportLayer;
use rsipstack::transport::udp::UdpConnection;
use tokio_util::sync::CancellationToken;

const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=message 2855 TCP/MSRP *\r\na=setup:passive\r\na=accept-types:message/cpim text/plain\r\n\
    a=path:msrp://127.0.0.1:2855/rsipstack000000;tcp\r\n";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let free: SocketAddr = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let token = CancellationToken::new();
    let transports = TransportLayer::new(token.clone());
    let udp = UdpConnection::create_connection(free, None, Some(token.child_token())).await?;
    transports.add_transport(udp.into());
    let endpoint = EndpointBuilder::new().with_cancel_token(token).with_transport_layer(transports).build();
    let host_with_port = endpoint.get_addrs().first().ok_or("no address")?.addr.clone();
    let contact =
        Uri { scheme: Some(Scheme::Sip), auth: None, host_with_port, params: vec![], headers: vec![] };
    let mut incoming = endpoint.incoming_transactions()?;
    let dialogs = Arc::new(DialogLayer::new(endpoint.inner.clone()));
    let (states, mut told) = dialogs.new_dialog_state_channel();
    println!("listening {free}");

    let layer = dialogs.clone();
    let calls = async move {
        while let Some(mut transaction) = incoming.recv().await {
            match transaction.original.method {
                Method::Invite => {
                    let dialog = layer.get_or_create_server_invite(
                        &transaction,
                        states.clone(),
                        None,
                        Some(contact.clone()),
                    );
                    let Ok(mut dialog) = dialog else { continue };
                    let type_row = Header::ContentType("application/sdp".into());
                    let answered = dialog.accept(Some(vec![type_row]), Some(ANSWER.into()));
                    if answered.is_ok() {
                        tokio::spawn(async move { dialog.handle(&mut transaction).await.ok() });
                    }
                }
                Method::Bye => {
                    let Ok(id) = DialogId::try_from(&transaction) else { continue };
                    transaction.reply(StatusCode::OK).await.ok();
                    layer.remove_dialog(&id);
                }
                _ => {}
            }
        }
    };
    let ended = async move {
        while let Some(state) = told.recv().await {
            if let DialogState::Terminated(id, _) = state {
                dialogs.remove_dialog(&id);
            }
        }
    };
    tokio::select! {
        () = endpoint.serve() => {}
        () = calls => {}
        () = ended => {}
    }
    Ok(())
}
