//! Container registries: Debian's docker-registry, which has no referrers API, and one that has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use trust::Sha256Digest;

use crate::image::OciImage;
use crate::peer;
use crate::process::Running;
use crate::program::{Ran, run, tool};
use crate::wait::until;

const READY_LIMIT: Duration = Duration::from_secs(30);

/// A registry of a test's own on the loopback, empty at first, gone when dropped.
#[derive(Debug)]
pub struct Registry {
    address: String,
    curl: PathBuf,
    directory: TempDir,
    process: Running,
}

impl Registry {
    /// docker-registry 2.8: keeps files, answers 404 to the referrers API, so that clients need the fallback tag.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn debian() -> Result<Self> {
        Self::debian_at("127.0.0.1:0")
    }

    /// The same at an address of the loopback of its own, so that references to it name no port: `127.77.3.4/name:tag`.
    ///
    /// # Errors
    /// As [`Registry::debian`]; and when this is not root, whose alone the port of HTTP is.
    pub fn without_port() -> Result<Self> {
        let is_free = |host: &String| std::net::TcpListener::bind((host.as_str(), 80)).is_ok();
        let pid = std::process::id();
        let mut hosts = (64..127).map(|third| format!("127.{third}.{}.{}", pid / 250 % 250 + 1, pid % 250 + 1));
        let host = hosts.find(is_free).context("no port 80 of the loopback is free, or this is not root")?;
        Self::debian_at(&format!("{host}:80"))
    }

    /// The same at an address of the loopback where nobody takes its port while it is down: see [`Registry::come_back`].
    ///
    /// # Errors
    /// As [`Registry::debian`].
    pub fn that_comes_back() -> Result<Self> {
        let pid = std::process::id();
        Self::debian_at(&format!("127.200.{}.{}:0", pid / 250 % 250 + 1, pid % 250 + 1))
    }

    fn debian_at(listen: &str) -> Result<Self> {
        let directory = TempDir::new().context("make a directory for the registry")?;
        let command = docker_registry(directory.path(), listen, Rights::ReadAndWrite)?;
        Self::start(command, directory, |log| {
            // level=info msg="listening on 127.0.0.1:40437" …
            let rest = log.split_once("listening on ")?.1;
            rest.split_once(['"', ',']).map(|(address, _)| address.trim().to_owned())
        })
    }

    /// A registry with the referrers API (OCI distribution-spec 1.1), in memory.
    ///
    /// # Errors
    /// When the peer programs are not built.
    pub fn with_referrers() -> Result<Self> {
        let directory = TempDir::new().context("make a directory for the registry")?;
        let command = Command::new(peer::path("referrers")?);
        Self::start(command, directory, |log| log.split_once('\n').map(|(address, _)| address.trim().to_owned()))
    }

    fn start(mut command: Command, directory: TempDir, address: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let curl = tool("curl", "apt-get install curl")?;
        let log = directory.path().join("log");
        let mut process = Running::start(&mut command, &log)?;
        let address = process.ready(READY_LIMIT, || {
            address(&std::fs::read_to_string(&log).ok()?).filter(|found| found.starts_with("127."))
        })?;
        let address = address.strip_suffix(":80").unwrap_or(&address).replace("127.0.0.1", "localhost");
        let registry = Self { address, curl, directory, process };
        registry.answers()?;
        Ok(registry)
    }

    fn answers(&self) -> Result<()> {
        until("the registry answers", READY_LIMIT, || {
            Ok(self.curl(&["--fail", "--output", "/dev/null"], "/v2/")?.ok().ok())
        })?;
        Ok(())
    }

    /// `localhost:PORT`, or an address of the loopback: a name that engines speak plain HTTP with.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.address
    }

    /// `localhost:PORT/name:tag`, or without a port.
    #[must_use]
    pub fn reference(&self, name_and_tag: &str) -> String {
        format!("{}/{name_and_tag}", self.address)
    }

    /// Where docker-registry keeps its files, for a test that damages them.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The registry goes away, as in an outage.
    ///
    /// # Errors
    /// When it does not end.
    pub fn go_down(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// A docker-registry that went down is there again, at the same address and with what it had.
    ///
    /// # Errors
    /// When it does not start.
    pub fn come_back(&mut self) -> Result<()> {
        self.come_back_for(Rights::ReadAndWrite)
    }

    /// The same, and it takes nothing.
    ///
    /// # Errors
    /// When it does not start.
    pub fn come_back_read_only(&mut self) -> Result<()> {
        self.come_back_for(Rights::ReadOnly)
    }

    fn come_back_for(&mut self, rights: Rights) -> Result<()> {
        let listen = self.address.replace("localhost", "127.0.0.1");
        let mut command = docker_registry(self.directory.path(), &listen, rights)?;
        self.process = Running::start(&mut command, &self.directory.path().join("log"))?;
        self.answers()
    }

    /// Puts an image into it under a tag, as an engine would, and gives the manifest's digest.
    ///
    /// # Errors
    /// When the registry refuses a part.
    pub fn put_image(&self, repository: &str, tag: &str, image: &OciImage) -> Result<Sha256Digest> {
        for blob in image.blobs() {
            self.put_blob(repository, blob)?;
        }
        self.put_manifest(repository, tag, image.media_type(), image.manifest())?;
        Ok(image.digest())
    }

    /// Puts one blob.
    fn put_blob(&self, repository: &str, blob: &[u8]) -> Result<()> {
        let head = self.curl(
            &["--fail", "--request", "POST", "--dump-header", "-", "--output", "/dev/null"],
            &format!("/v2/{repository}/blobs/uploads/"),
        )?;
        let location = header(&head.ok()?.stdout, "location").context("an upload without a Location")?;
        let path = location.split_once("/v2/").map_or(location.as_str(), |(_, path)| path);
        let separator = if path.contains('?') { '&' } else { '?' };
        let body = self.body(blob)?;
        self.curl(
            &[
                "--fail",
                "--request",
                "PUT",
                "--header",
                "Content-Type: application/octet-stream",
                "--data-binary",
                &at(body.path()),
            ],
            &format!("/v2/{path}{separator}digest={}", Sha256Digest::of(blob)),
        )?
        .ok()?;
        Ok(())
    }

    /// Puts a manifest under a tag or digest.
    fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let body = self.body(bytes)?;
        let content_type = format!("Content-Type: {media_type}");
        self.curl(
            &["--fail", "--request", "PUT", "--header", &content_type, "--data-binary", &at(body.path())],
            &format!("/v2/{repository}/manifests/{tag}"),
        )?
        .ok()?;
        Ok(())
    }

    /// Deletes a manifest, with every tag that means it.
    ///
    /// # Errors
    /// When the registry refuses.
    pub fn delete_manifest(&self, repository: &str, digest: &Sha256Digest) -> Result<()> {
        self.curl(&["--fail", "--request", "DELETE"], &format!("/v2/{repository}/manifests/{digest}"))?.ok()?;
        Ok(())
    }

    /// A manifest's media type and exact bytes, or none where the registry has none (404).
    ///
    /// # Errors
    /// When the registry answers with anything else.
    pub fn manifest(&self, repository: &str, tag: &str) -> Result<Option<(String, Vec<u8>)>> {
        self.fetch(&format!("/v2/{repository}/manifests/{tag}"))
    }

    /// A blob's bytes, or none.
    ///
    /// # Errors
    /// When the registry answers with anything but 200 or 404.
    pub fn blob(&self, repository: &str, digest: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.fetch(&format!("/v2/{repository}/blobs/{digest}"))?.map(|(_, bytes)| bytes))
    }

    /// What the referrers API lists, or none where there is no such API.
    ///
    /// # Errors
    /// When the registry answers with anything but 200 or 404.
    pub fn referrers(&self, repository: &str, digest: &str) -> Result<Option<Value>> {
        let answer = self.fetch(&format!("/v2/{repository}/referrers/{digest}"))?;
        answer.map(|(_, bytes)| serde_json::from_slice(&bytes).context("the referrers list is not JSON")).transpose()
    }

    fn fetch(&self, path: &str) -> Result<Option<(String, Vec<u8>)>> {
        const ACCEPT: &str = "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
             application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.list.v2+json, */*";
        let body = self.body(&[])?;
        let output = body.path().to_string_lossy().into_owned();
        let ran =
            self.curl(&["--header", ACCEPT, "--output", &output, "--write-out", "%{http_code} %{content_type}"], path)?;
        let ran = ran.ok()?;
        let (status, media_type) = ran.stdout.split_once(' ').context("curl printed no status")?;
        if status == "404" {
            return Ok(None);
        }
        ensure!(status == "200", "{path}: the registry answered {status}");
        Ok(Some((media_type.to_owned(), std::fs::read(body.path()).context("read what curl wrote")?)))
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Result<Ran> {
        let mut command = Command::new(&self.curl);
        command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]).args(arguments);
        run(command.arg(format!("http://{}{path}", self.address.replace("localhost", "127.0.0.1"))))
    }

    fn body(&self, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
        let file = tempfile::NamedTempFile::new_in(self.directory.path()).context("make a file for curl")?;
        std::fs::write(file.path(), bytes).context("write a file for curl")?;
        Ok(file)
    }
}

/// What a registry lets clients do.
#[derive(Debug, Clone, Copy)]
enum Rights {
    ReadAndWrite,
    ReadOnly,
}

/// A docker-registry with its files below a directory.
fn docker_registry(directory: &Path, listen: &str, rights: Rights) -> Result<Command> {
    let program = tool("docker-registry", "apt-get install docker-registry")?;
    let configuration = directory.join("config.yml");
    let read_only = match rights {
        Rights::ReadAndWrite => "",
        Rights::ReadOnly => ", maintenance: {readonly: {enabled: true}}",
    };
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: \"{listen}\"}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}{read_only}}}\n",
        directory.join("data").display()
    );
    std::fs::write(&configuration, text).context("write the registry's configuration")?;
    let mut command = Command::new(program);
    command.arg("serve").arg(&configuration);
    Ok(command)
}

fn at(path: &Path) -> String {
    format!("@{}", path.display())
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
}

/// Points the tag `to` at what `from` points at: what a hostile registry does.
///
/// # Errors
/// When the registry refuses it or has no such tag.
pub fn move_tag(registry: &Registry, repository: &str, from: &str, to: &str) -> Result<()> {
    let (media_type, bytes) = registry.manifest(repository, from)?.with_context(|| format!("no tag {from}"))?;
    registry.put_manifest(repository, to, &media_type, &bytes)
}

/// Copies an image with its signatures in both forms from one repository to another, bytes unchanged: what whoever
/// may write to the registry can do.
///
/// # Errors
/// When a part is missing or refused.
pub fn copy_signatures(registry: &Registry, from: &str, to: &str, digest: &Sha256Digest) -> Result<()> {
    for tag in [format!("sha256-{}.sig", digest.to_hex()), format!("sha256-{}", digest.to_hex())] {
        let Some((media_type, bytes)) = registry.manifest(from, &tag)? else { continue };
        copy_parts(registry, from, to, &bytes)?;
        registry.put_manifest(to, &tag, &media_type, &bytes)?;
    }
    let listed = registry.referrers(from, &digest.to_string())?;
    for entry in listed.iter().flat_map(|list| items(list, "manifests")) {
        let digest = digest_of(entry).context("a referrer without a digest")?;
        let (media_type, bytes) = registry.manifest(from, digest)?.context("a referrer that is not there")?;
        copy_parts(registry, from, to, &bytes)?;
        registry.put_manifest(to, digest, &media_type, &bytes)?;
    }
    Ok(())
}

fn copy_parts(registry: &Registry, from: &str, to: &str, manifest: &[u8]) -> Result<()> {
    let manifest: Value = serde_json::from_slice(manifest).context("the manifest is not JSON")?;
    let parts = items(&manifest, "layers").chain(manifest.get("config"));
    for digest in parts.filter_map(digest_of) {
        let bytes = registry.blob(from, digest)?.with_context(|| format!("no blob {digest}"))?;
        registry.put_blob(to, &bytes)?;
    }
    for child in items(&manifest, "manifests") {
        let digest = digest_of(child).context("an index entry without a digest")?;
        let (media_type, bytes) = registry.manifest(from, digest)?.with_context(|| format!("no manifest {digest}"))?;
        copy_parts(registry, from, to, &bytes)?;
        registry.put_manifest(to, digest, &media_type, &bytes)?;
    }
    Ok(())
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn digest_of(descriptor: &Value) -> Option<&str> {
    descriptor.get("digest")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(registry: &Registry) {
        let image = OciImage::holding("one");
        let digest = registry.put_image("team/app", "1.0", &image).unwrap();

        let (media_type, bytes) = registry.manifest("team/app", "1.0").unwrap().unwrap();

        assert_eq!((media_type.as_str(), bytes.as_slice()), (image.media_type(), image.manifest()));
        assert_eq!(digest, Sha256Digest::of(&bytes));
        assert!(registry.manifest("team/app", "2.0").unwrap().is_none());
    }

    #[test]
    fn docker_registry_keeps_an_image_and_has_no_referrers_api() {
        let registry = Registry::debian().unwrap();

        round_trip(&registry);

        let digest = OciImage::holding("one").digest().to_string();
        assert!(registry.referrers("team/app", &digest).unwrap().is_none());
    }

    #[test]
    fn the_other_registry_keeps_an_image_and_lists_its_referrers() {
        let registry = Registry::with_referrers().unwrap();

        round_trip(&registry);

        let image = OciImage::holding("one");
        let referrer = OciImage::about(&image, "a referrer");
        registry.put_image("team/app", &referrer.digest().to_string(), &referrer).unwrap();
        let listed = registry.referrers("team/app", &image.digest().to_string()).unwrap().unwrap();
        assert_eq!(listed["manifests"][0]["digest"], referrer.digest().to_string());
    }
}
