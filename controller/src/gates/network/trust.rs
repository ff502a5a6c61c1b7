//! Whom a connection believes: anybody, the world's authorities, or one authority alone.
//!
//! In: a choice. Out: a TLS configuration. Never here: connections.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

/// Whom to believe.
#[derive(Clone, Copy)]
pub(super) enum Trust<'a> {
    /// As the kubelet's probes do: a pod has no certificate that is good for its address.
    Anybody,
    /// Those that this image or machine believes.
    World,
    /// Only these, in PEM.
    Only(&'a [u8]),
}

pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    // Reading all of the world's certificates takes some milliseconds; most clusters never need them here.
    world: OnceLock<Result<Arc<ClientConfig>, String>>,
    anybody: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Tls {
    pub(super) fn new() -> Self {
        Self { provider: Arc::new(aws_lc_rs::default_provider()), world: OnceLock::new(), anybody: OnceLock::new() }
    }

    /// The error says what to do.
    pub(super) fn config(&self, trust: Trust<'_>) -> Result<Arc<ClientConfig>, String> {
        match trust {
            Trust::Anybody => self.anybody.get_or_init(|| self.believing(Arc::new(Anybody(self.provider.clone())))).clone(),
            Trust::World => self.world.get_or_init(|| self.with_roots(world()?)).clone(),
            Trust::Only(pem) => self.with_roots(read(pem)?),
        }
    }

    fn with_roots(&self, roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone());
        self.believing(verifier.build().map_err(|error| format!("TLS cannot be set up: {error}"))?)
    }

    fn believing(&self, verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, String> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Every sample proves the whole way anew.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn world() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err("this controller's image has no CA certificates: name a Secret with `ca.crt`".to_owned());
    }
    Ok(roots)
}

fn read(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let wrong = || "`ca.crt` of the Secret is no certificate in PEM".to_owned();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| wrong())?).map_err(|_| wrong())?;
    }
    if roots.is_empty() { Err(wrong()) } else { Ok(roots) }
}

/// Looks at no certificate. Only for requests that carry nothing but what the Release's own author wrote.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
