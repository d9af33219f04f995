//! Fetches one file: whole, of one version, and verified.

use std::path::Path;

use reqwest::Method;
use tracing::warn;
use url::Url;

use super::drive::{Drive, item_path, prepared, refusal};
use super::error::Error;
use super::file::{Fetched, Intake, RemoteFile};
use super::service::Problem;
use crate::http::{Answer, Request};

/// How often a file is fetched anew because somebody wrote to it meanwhile.
const VERSIONS: u32 = 5;

/// How often a broken body is resumed, as long as something comes each time.
const BREAKS: u32 = 20;

/// How often a download host may send us on.
const HOPS: u32 = 5;

/// Into these SharePoint writes the library's columns on the way out, so that
/// neither the size nor the hash it lists is that of what it sends.
const OFFICE: [&str; 12] = ["xlsx", "xlsm", "xlsb", "xls", "xltx", "docx", "docm", "doc", "pptx", "pptm", "ppt", "one"];

/// Where the bytes are.
enum Content {
    /// Behind a link that is a credential by itself.
    Link(String),
    /// In this answer already.
    Here(Box<Answer>),
}

/// How one download went.
enum Taken {
    Whole(Box<Intake>),
    Replaced(RemoteFile),
}

/// How what came compares with what is listed.
#[derive(Debug, PartialEq, Eq)]
enum Comparison {
    Verified,
    /// The size is right and there is no hash to compare.
    Unproven,
    Different,
}

impl Drive {
    /// Fetches a listed file into a folder. If it was replaced since, the new
    /// version is fetched; never a mixture.
    ///
    /// # Errors
    /// When it is too large, gone, forbidden, infected, or did not come whole.
    pub async fn fetch(&self, file: &RemoteFile, limit_bytes: u64, into: &Path) -> Result<Fetched, Error> {
        let library = self.resolve().await?.kind.as_deref() != Some("personal");
        let mut wanted = file.clone();
        let mut notes = Vec::new();
        let mut doubted = false;
        for _ in 0..VERSIONS {
            if wanted.size_bytes > limit_bytes {
                let name = wanted.name;
                return Err(Error::TooLarge { name, limit_bytes });
            }
            let intake = match self.download(&wanted, limit_bytes, into).await? {
                Taken::Whole(intake) => *intake,
                Taken::Replaced(fresh) => {
                    wanted = fresh;
                    continue;
                }
            };
            let comparison = compare(&wanted, &intake);
            if comparison != Comparison::Verified {
                let fresh = self.look(&wanted).await?;
                if fresh.version != wanted.version {
                    wanted = fresh;
                    continue;
                }
            }
            if comparison == Comparison::Different {
                let (listed, received) = (wanted.size_bytes, intake.size_bytes());
                if library && is_office(&wanted.name) {
                    notes.push(format!(
                        "`{}`: {received} bytes came where {listed} are listed, or with another hash, as SharePoint does with Office files",
                        wanted.name
                    ));
                } else if doubted && self.mismatch_accepted {
                    notes.push(format!(
                        "`{}`: {received} bytes came twice where {listed} are listed, or with another hash; taken as `sources.mismatched_text` says",
                        wanted.name
                    ));
                } else if doubted {
                    return Err(Error::Mismatch {
                        name: wanted.name,
                        expected_bytes: listed,
                        received_bytes: received,
                    });
                } else {
                    doubted = true;
                    continue;
                }
            }
            if wanted.version != file.version {
                notes.push(format!("`{}`: replaced after it was listed; the new version was read", wanted.name));
            }
            return Ok(Fetched { remote: Some(wanted), notes, ..intake.finish().await? });
        }
        Err(Error::KeepsChanging { name: wanted.name })
    }

    async fn download(&self, wanted: &RemoteFile, limit_bytes: u64, into: &Path) -> Result<Taken, Error> {
        let mut intake = Intake::new(&wanted.name, limit_bytes, into).await?;
        let (mut breaks, mut idle_breaks, mut refusals) = (0, 0, 0);
        loop {
            let before = intake.size_bytes();
            let answer = match self.content(wanted).await? {
                Content::Here(answer) => *answer,
                Content::Link(link) => self.behind(wanted, link, before).await?,
            };
            let broken = match answer.status.as_u16() {
                206 if starts_at(&answer, before) => receive(answer, &mut intake).await?,
                200 => {
                    intake.restart().await?;
                    receive(answer, &mut intake).await?
                }
                206 | 416 => {
                    intake.restart().await?;
                    Some(Error::Truncated {
                        name: wanted.name.clone(),
                        expected_bytes: wanted.size_bytes,
                        received_bytes: before,
                    })
                }
                status => {
                    let infected = answer.header("x-virus-infected").is_some();
                    let name = wanted.name.clone();
                    let problem = match answer.whole().await {
                        Ok(response) => Problem::of(&response),
                        Err(_) => Problem::default(),
                    };
                    if infected || problem.is("malwareDetected") {
                        return Err(Error::Infected { name });
                    }
                    // An old link, not an old token: one fresh link, no fresh token.
                    if !matches!(status, 401 | 403 | 404) || refusals > 0 {
                        return Err(Error::DownloadRefused { name, status });
                    }
                    refusals += 1;
                    continue;
                }
            };
            let Some(error) = broken else {
                return Ok(Taken::Whole(Box::new(intake)));
            };
            breaks += 1;
            idle_breaks = if intake.size_bytes() > before { 0 } else { idle_breaks + 1 };
            if breaks > BREAKS || idle_breaks >= self.service.client().attempts() {
                return Err(error);
            }
            warn!(name = wanted.name, received_bytes = intake.size_bytes(), "download broke off");
            self.service.client().back_off(idle_breaks + 1).await;
            let fresh = self.look(wanted).await?;
            if fresh.version != wanted.version {
                return Ok(Taken::Replaced(fresh));
            }
        }
    }

    /// Asks Graph where the bytes are. Only here a token is sent.
    async fn content(&self, wanted: &RemoteFile) -> Result<Content, Error> {
        let operation = format!("fetch file `{}`", wanted.name);
        let path = format!("/v1.0{}/content", item_path(wanted));
        let request = self.service.request(&operation, Method::GET, &path)?;
        let request = prepared(request).header("accept-encoding", "identity");
        let answer = self.service.open(&operation, request).await?;
        match answer.status.as_u16() {
            200 => return Ok(Content::Here(Box::new(answer))),
            301 | 302 | 303 | 307 | 308 => {
                if let Some(link) = answer.header("location") {
                    return Ok(Content::Link(link.to_owned()));
                }
            }
            404 => {
                let name = wanted.name.clone();
                return Err(Error::FileVanished { name });
            }
            _ => {}
        }
        let infected = answer.header("x-virus-infected").is_some();
        let outcome = answer.whole().await;
        let response = outcome.map_err(|source| Error::Send { operation: operation.clone(), source })?;
        if infected || Problem::of(&response).is("malwareDetected") {
            let name = wanted.name.clone();
            return Err(Error::Infected { name });
        }
        Err(refusal(&operation, &response))
    }

    /// Opens a download link: as it was received, and without a token.
    async fn behind(&self, wanted: &RemoteFile, link: String, from: u64) -> Result<Answer, Error> {
        let operation = format!("download file `{}`", wanted.name);
        let mut link = link;
        for _ in 0..HOPS {
            let mut request = self.openable(&operation, &link)?.header("accept-encoding", "identity");
            if from > 0 {
                request = request.header("range", &format!("bytes={from}-"));
            }
            let outcome = self.service.client().open(&request).await;
            let answer = outcome.map_err(|source| Error::Send { operation: operation.clone(), source })?;
            match answer.header("location") {
                Some(next) if answer.status.is_redirection() => {
                    link = absolute(request.url(), next);
                }
                _ => return Ok(answer),
            }
        }
        Err(Error::RepeatingLink { operation })
    }

    /// Refuses links that are none, and such as would give up the protection
    /// that Graph itself has.
    fn openable(&self, operation: &str, link: &str) -> Result<Request, Error> {
        let foreign = |host: String| Error::ForeignLink { operation: operation.to_owned(), host };
        let request = Request::follow(link).map_err(|_| foreign("no address".to_owned()))?;
        match request.url().scheme() {
            "https" => Ok(request),
            "http" if !self.service.is_protected() => Ok(request),
            _ => Err(foreign(request.url().origin().ascii_serialization())),
        }
    }
}

/// Takes the body in. What came before a break stays; the break is the answer.
async fn receive(mut answer: Answer, intake: &mut Intake) -> Result<Option<Error>, Error> {
    let announced = answer.header("content-length").and_then(|length| length.trim().parse::<u64>().ok());
    let before = intake.size_bytes();
    loop {
        match answer.piece().await {
            Ok(Some(piece)) => intake.write(&piece).await?,
            Ok(None) => break,
            Err(source) => {
                let operation = format!("download file `{}`", intake.name());
                return Ok(Some(Error::Send { operation, source }));
            }
        }
    }
    let received_bytes = intake.size_bytes() - before;
    Ok(announced.filter(|announced| *announced != received_bytes).map(|expected_bytes| Error::Truncated {
        name: intake.name().to_owned(),
        expected_bytes,
        received_bytes,
    }))
}

fn starts_at(answer: &Answer, from: u64) -> bool {
    let range = answer.header("content-range").unwrap_or_default();
    let start = range.trim_start_matches("bytes").trim_start();
    start.split('-').next().and_then(|start| start.parse().ok()) == Some(from)
}

/// A `Location` is used as it stands unless it leaves out the host.
fn absolute(from: &Url, link: &str) -> String {
    match Url::parse(link) {
        Ok(_) => link.to_owned(),
        Err(_) => from.join(link).map_or_else(|_| link.to_owned(), String::from),
    }
}

fn compare(wanted: &RemoteFile, intake: &Intake) -> Comparison {
    match &wanted.quick_xor_hash {
        _ if wanted.size_bytes != intake.size_bytes() => Comparison::Different,
        None => Comparison::Unproven,
        Some(hash) if *hash == intake.quick_xor_hash() => Comparison::Verified,
        Some(_) => Comparison::Different,
    }
}

fn is_office(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| OFFICE.contains(&end.to_lowercase().as_str()))
}
