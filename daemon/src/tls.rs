//! TLS.
use rustls::pki_types::CertificateDer;
pub(crate) struct TlsState;
impl TlsState {
    pub(crate) fn load(_: &crate::config::TlsConfig) -> anyhow::Result<Self> {
        Ok(Self)
    }
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        Ok(())
    }
    pub(crate) fn recheck(
        &self,
        _: &[CertificateDer<'static>],
        _: u64,
    ) -> Result<trust::principal::SpiffeId, std::io::Error> {
        Err(std::io::Error::other("x"))
    }
}
