//! The three STUN messages of ICE, written and read (RFC 8445 §7, RFC 8489).

use std::net::SocketAddr;

use lockgate_transport::ice::Credentials;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY, ATTR_USE_CANDIDATE,
    ATTR_USERNAME, AttrType,
};
use rtc_stun::error_code::{CODE_ROLE_CONFLICT, ErrorCodeAttribute};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message as Stun, Setter, TransactionId,
};
use rtc_stun::textattrs::Username;
use rtc_stun::xoraddr::XorMappedAddress;

/// What a message means to an agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The server checks us.
    Request { id: [u8; 12], nominates: bool },
    /// A check of ours is answered.
    Success { id: [u8; 12] },
    /// The server has the same role (RFC 8445 §7.2.5.1).
    RoleConflict { id: [u8; 12] },
}

/// A check of ours.
pub(super) struct Check {
    pub(super) id: [u8; 12],
    pub(super) nominates: bool,
    pub(super) controlling: bool,
    pub(super) tie_breaker: u64,
}

/// An attribute of raw bytes.
struct Raw(AttrType, Vec<u8>);

impl Setter for Raw {
    fn add_to(&self, message: &mut Stun) -> rtc_shared::error::Result<()> {
        message.add(self.0, &self.1);
        Ok(())
    }
}

impl Check {
    /// The message, for the server's password.
    pub(super) fn write(&self, local: &Credentials, remote: &Credentials) -> Option<Vec<u8>> {
        let role = if self.controlling { ATTR_ICE_CONTROLLING } else { ATTR_ICE_CONTROLLED };
        let mut parts: Vec<Box<dyn Setter>> = vec![
            Box::new(TransactionId(self.id)),
            Box::new(BINDING_REQUEST),
            Box::new(Username::new(ATTR_USERNAME, format!("{}:{}", remote.ufrag, local.ufrag))),
            Box::new(Raw(role, self.tie_breaker.to_be_bytes().into())),
            Box::new(Raw(ATTR_PRIORITY, PRIORITY.to_be_bytes().into())),
        ];
        if self.nominates {
            parts.push(Box::new(Raw(ATTR_USE_CANDIDATE, Vec::new())));
        }
        build(&parts, &remote.password)
    }
}

/// The answer to a check of the server's.
pub(super) fn respond(id: [u8; 12], from: SocketAddr, local: &Credentials) -> Option<Vec<u8>> {
    let mapped = XorMappedAddress { ip: from.ip(), port: from.port() };
    build(&[Box::new(TransactionId(id)), Box::new(BINDING_SUCCESS), Box::new(mapped)], &local.password)
}

/// Reads a message; nothing when it is none of the three, or not authentic.
pub(super) fn read(datagram: &[u8], local: &Credentials, remote: Option<&Credentials>) -> Option<Message> {
    let mut message = Stun::new();
    message.unmarshal_binary(datagram).ok()?;
    let password = if message.typ == BINDING_REQUEST { &local.password } else { &remote?.password };
    if !message.contains(ATTR_MESSAGE_INTEGRITY) {
        return None;
    }
    let crypto = AwsLcRsProvider::new();
    MessageIntegrity::check(&mut message, password.as_bytes(), crypto.crypto()).ok()?;
    let id = message.transaction_id.0;
    match message.typ {
        BINDING_REQUEST => Some(Message::Request { id, nominates: message.contains(ATTR_USE_CANDIDATE) }),
        BINDING_SUCCESS => Some(Message::Success { id }),
        BINDING_ERROR => {
            let mut code = ErrorCodeAttribute::default();
            code.get_from(&message).ok()?;
            (code.code == CODE_ROLE_CONFLICT).then_some(Message::RoleConflict { id })
        }
        _ => None,
    }
}

fn build(parts: &[Box<dyn Setter>], password: &str) -> Option<Vec<u8>> {
    let crypto = AwsLcRsProvider::new();
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto());
    let mut message = Stun::new();
    message.build(parts).ok()?;
    integrity.add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

/// Of a peer-reflexive candidate (RFC 8445 §5.1.2.1), which is what our address is to a server.
const PRIORITY: u32 = (110 << 24) + (65_535 << 8) + 255;
