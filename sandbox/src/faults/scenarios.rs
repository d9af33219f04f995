//! Recorded faults of the real services, by name.

use serde_json::{Value, json};

use super::script::Outcome;
use crate::wire::Response;

/// A fault as it was recorded on the wire; scripted with [`super::Faults::script`].
///
/// Throttling carries the text of `Retry-After`, because the real services send
/// whole seconds, fractions (`2.128`), HTTP dates, or no header at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Token endpoint: too many requests (AADSTS90055).
    TokenThrottled(Option<&'static str>),
    /// Token endpoint: a passing fault (AADSTS90033).
    TokenUnavailable,
    /// Token endpoint: a proxy answers with a web page.
    TokenUnavailableHtml,
    /// Graph: the token has expired, whatever its real age.
    GraphTokenExpired,
    /// Graph: continuous access evaluation asks for a new token with claims.
    GraphClaimsChallenge,
    /// Graph: the 401 of the OneDrive side that the same token overcomes.
    GraphRps,
    /// Graph: no application permission was consented.
    GraphNoPermissions,
    /// Graph: throttled by SharePoint.
    GraphThrottled(Option<&'static str>),
    /// Graph: throttled by the gateway, with its other error code.
    GraphTooManyRequests(Option<&'static str>),
    /// Graph: too busy.
    GraphUnavailable(Option<&'static str>),
    /// Graph: a server fault inside delta.
    GraphDeltaFault,
    /// Graph: 200 without the `value` array.
    GraphWithoutValue,
    /// Graph: an unspecified error, as the `Location` of a 410 may answer.
    GraphGeneralException,
    /// Graph: the permission for this site is missing.
    GraphAccessDenied,
    /// Graph: no such item, drive or site.
    GraphItemNotFound,
    /// Graph: the gateway gave up waiting.
    GraphGatewayTimeout,
    /// Graph: bandwidth cap reached.
    GraphBandwidthExceeded,
    /// Graph: the storage is full.
    GraphStorageFull,
    /// Download host: the link is not accepted (any more).
    DownloadUnauthorized,
    /// Download host: a web page instead of the file, without `Retry-After`.
    DownloadUnavailableHtml,
    /// Download host: the virus scanner objects.
    DownloadMalware,
    /// Download host: the connection closes after so many bytes.
    DownloadTruncated(usize),
    /// sendMail: the mailbox is outside the application's access policy.
    MailAccessDenied,
    /// sendMail: the request is over the size limit.
    MailTooLarge,
    /// sendMail: the puzzling answer reported for large bodies.
    MailEmptyMessage,
    /// sendMail: the mailbox's concurrency limit.
    MailThrottled(Option<&'static str>),
    /// Dataverse: more than 6000 requests in five minutes.
    DataverseRequestLimit(Option<&'static str>),
    /// Dataverse: more than twenty minutes of execution time in five minutes.
    DataverseTimeLimit(Option<&'static str>),
    /// Dataverse: more than 52 requests at once.
    DataverseConcurrencyLimit(Option<&'static str>),
    /// Dataverse: 401 with an empty body.
    DataverseUnauthorized,
    /// Dataverse: the token is fine, but there is no application user.
    DataverseNotAMember,
    /// Dataverse: the security role lacks a privilege on `table`.
    DataverseMissingPrivilege(&'static str),
    /// Dataverse: the change token is too old.
    DataverseChangesExpired,
    /// Dataverse: the statement took too long.
    DataverseSqlTimeout,
    /// Dataverse: two writers on the same rows.
    DataverseDeadlock,
    /// Dataverse: the front door answers with a web page.
    DataverseBadGateway,
    /// Dataverse: the body is over the limit.
    DataverseTooLarge,
}

impl From<Scenario> for Outcome {
    fn from(scenario: Scenario) -> Self {
        match scenario {
            Scenario::DownloadTruncated(bytes) => Self::Truncate(bytes),
            other => Self::Answer(other.answer()),
        }
    }
}

impl Scenario {
    fn answer(self) -> Response {
        match self {
            Self::TokenThrottled(_) | Self::TokenUnavailable | Self::TokenUnavailableHtml => self.token_answer(),
            Self::DownloadUnauthorized
            | Self::DownloadUnavailableHtml
            | Self::DownloadMalware
            | Self::DownloadTruncated(_) => self.download_answer(),
            Self::MailAccessDenied | Self::MailTooLarge | Self::MailEmptyMessage | Self::MailThrottled(_) => {
                self.mail_answer()
            }
            Self::GraphTokenExpired | Self::GraphClaimsChallenge | Self::GraphRps | Self::GraphNoPermissions => {
                self.graph_unauthorized()
            }
            Self::DataverseRequestLimit(_)
            | Self::DataverseTimeLimit(_)
            | Self::DataverseConcurrencyLimit(_)
            | Self::DataverseUnauthorized
            | Self::DataverseNotAMember
            | Self::DataverseMissingPrivilege(_)
            | Self::DataverseChangesExpired
            | Self::DataverseSqlTimeout
            | Self::DataverseDeadlock
            | Self::DataverseBadGateway
            | Self::DataverseTooLarge => self.dataverse_answer(),
            _ => self.graph_answer(),
        }
    }

    fn token_answer(self) -> Response {
        let error = |number: u32, text: &str| {
            json!({
                "error": "temporarily_unavailable",
                "error_description": format!("AADSTS{number}: {text}"),
                "error_codes": [number],
                "timestamp": "2026-01-09 02:02:12Z",
                "trace_id": "0000aaaa-11bb-cccc-dd33-eeeeee333333",
                "correlation_id": "aaaa0000-bb11-2222-33cc-444444dddddd",
            })
        };
        match self {
            Self::TokenThrottled(retry_after) => throttled(
                Response::json(
                    429,
                    &error(
                        90055,
                        "There are too many incoming requests. This exception is thrown for blocked tenants.",
                    ),
                ),
                retry_after,
            ),
            Self::TokenUnavailable => {
                Response::json(503, &error(90033, "A transient error has occurred. Please try again."))
            }
            _ => Response::text(
                503,
                "text/html",
                "<html><head><title>Service Unavailable</title></head><body></body></html>",
            ),
        }
    }

    fn graph_unauthorized(self) -> Response {
        let challenge = "Bearer realm=\"\", \
            authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\"";
        match self {
            Self::GraphTokenExpired => {
                graph(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.").with(
                    "www-authenticate",
                    format!("{challenge}, client_id=\"00000003-0000-0000-c000-000000000000\""),
                )
            }
            Self::GraphClaimsChallenge => graph(
                401,
                "InvalidAuthenticationToken",
                "Continuous access evaluation resulted in challenge with result: InteractionRequired \
                 and code: TokenIssuedBeforeRevocationTimestamp",
            )
            .with(
                "www-authenticate",
                format!(
                    "{challenge}, error=\"insufficient_claims\", claims=\"\
                     eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiY3AxIn19fQ==\""
                ),
            ),
            Self::GraphNoPermissions => graph(
                401,
                "NoPermissionsInAccessToken",
                "The token contains no permissions, or permissions can not be understood.",
            ),
            _ => graph(401, "InvalidAuthenticationToken", "Unable to initialize RPS"),
        }
    }

    fn graph_answer(self) -> Response {
        match self {
            Self::GraphThrottled(retry_after) => throttled(
                Response::json(
                    429,
                    &json!({"error": {
                        "code": "activityLimitReached",
                        "message": "The request has been throttled",
                        "innerError": {
                            "code": "throttledRequest",
                            "innerError": {"code": "quota"},
                            "date": "2021-11-30T12:17:46",
                            "request-id": "01c3bdb8-fbb1-4613-96ad-be961ba99e11",
                            "client-request-id": "01c3bdb8-fbb1-4613-96ad-be961ba99e11",
                        },
                    }}),
                ),
                retry_after,
            ),
            Self::GraphTooManyRequests(retry_after) => throttled(
                Response::json(
                    429,
                    &json!({"error": {
                        "code": "TooManyRequests",
                        "innerError": {
                            "code": "429",
                            "date": "2020-08-18T12:51:51",
                            "message": "Please retry after",
                            "request-id": "94fb3b52-452a-4535-a601-69e0a90e3aa2",
                            "status": "429",
                        },
                        "message": "Please retry again later.",
                    }}),
                ),
                retry_after,
            ),
            Self::GraphUnavailable(retry_after) => throttled(
                graph(503, "serviceNotAvailable", "The service is not available. Try the request again after a delay."),
                retry_after,
            ),
            Self::GraphDeltaFault => graph(500, "InternalServerError", "nextLink value without skip or skiptoken"),
            Self::GraphWithoutValue => Response::json(200, &json!({})),
            Self::GraphAccessDenied => graph(403, "accessDenied", "Access denied"),
            Self::GraphItemNotFound => graph(404, "itemNotFound", "The resource could not be found."),
            Self::GraphGatewayTimeout => graph(504, "UnknownError", ""),
            Self::GraphBandwidthExceeded => plain(
                509,
                "activityLimitReached",
                "Your app has been throttled for exceeding the maximum bandwidth cap.",
            ),
            Self::GraphStorageFull => plain(507, "quotaLimitReached", "The maximum storage quota has been reached."),
            _ => graph(500, "generalException", "An unspecified error has occurred."),
        }
    }

    fn download_answer(self) -> Response {
        match self {
            Self::DownloadUnavailableHtml => Response::text(
                503,
                "text/html",
                "<!DOCTYPE html><html><head><title>Sharepoint Online</title></head><body>panda</body></html>",
            )
            .with("Cache-Control", "no-cache, no-store"),
            Self::DownloadMalware => Response::json(
                403,
                &json!({"error": {
                    "code": "malwareDetected",
                    "message": "Malware detected",
                    "innerError": {"code": "virusSuspicious"},
                }}),
            )
            .with("X-Virus-Infected", "EICAR-Test-File"),
            _ => Response::text(401, "text/html; charset=utf-8", "Unauthorized"),
        }
    }

    fn mail_answer(self) -> Response {
        match self {
            Self::MailAccessDenied => graph(403, "ErrorAccessDenied", "Access to OData is disabled."),
            Self::MailTooLarge => {
                plain(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
            }
            Self::MailThrottled(retry_after) => throttled(
                graph(429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit."),
                retry_after,
            ),
            _ => plain(400, "ErrorInvalidParameter", "The value of the parameter 'Message' is empty."),
        }
    }

    fn dataverse_answer(self) -> Response {
        let limit = |code: &str, message: &str, retry_after: Option<&'static str>| {
            throttled(dataverse(429, code, message), retry_after)
                .with("x-ms-ratelimit-burst-remaining-xrm-requests", "0")
        };
        match self {
            Self::DataverseRequestLimit(retry_after) => limit(
                "0x80072322",
                "Number of requests exceeded the limit of 6000 over time window of 300 seconds.",
                retry_after,
            ),
            Self::DataverseTimeLimit(retry_after) => limit(
                "0x80072321",
                "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds \
                 over time window of 300 seconds. Decrease number of concurrent requests or reduce the \
                 duration of requests and try again later.",
                retry_after,
            ),
            Self::DataverseConcurrencyLimit(retry_after) => {
                limit("0x80072326", "Number of concurrent requests exceeded the limit of 52.", retry_after)
            }
            Self::DataverseNotAMember => dataverse(403, "0x80072560", "The user is not a member of the organization."),
            Self::DataverseMissingPrivilege(table) => missing_privilege(table),
            Self::DataverseChangesExpired => dataverse(
                400,
                "0x80044352",
                "Version stamp associated with the client has expired. Please perform a full sync.",
            ),
            Self::DataverseSqlTimeout => dataverse(
                500,
                "0x80044151",
                "Sql error: SQL timeout expired. CRM ErrorCode: -2147204783 \
                 Sql ErrorCode: -2146232060 Sql Number: -2",
            ),
            Self::DataverseDeadlock => dataverse(
                500,
                "0x80044150",
                "Sql error: Generic SQL error. CRM ErrorCode: -2147204784 \
                 Sql ErrorCode: -2146232060 Sql Number: 1205",
            ),
            Self::DataverseBadGateway => Response::text(
                502,
                "text/html",
                "<html><head><title>502 Bad Gateway</title></head><body></body></html>",
            ),
            Self::DataverseTooLarge => {
                Response::text(413, "text/html", "<html><body>Request Entity Too Large</body></html>")
            }
            _ => Response::empty(401).with(
                "WWW-Authenticate",
                "Bearer authorization_uri=https://login.microsoftonline.com/\
                 00000000-1111-2222-3333-444444444444/oauth2/authorize, \
                 resource_id=https://contoso.crm.dynamics.com/",
            ),
        }
    }
}

fn missing_privilege(table: &str) -> Response {
    let caller = "d93e9712-5c0b-f011-bae2-7c1e526458ff";
    let (first, rest) = table.split_at(table.chars().next().map_or(0, char::len_utf8));
    let privilege = format!("prvRead{}{rest}", first.to_uppercase());
    let message = format!(
        "Principal user (Id={caller}, type=8) is missing {privilege} privilege on OTC=1 for entity \
         '{table}'. context.Caller={caller}"
    );
    dataverse(403, "0x80040220", &message)
}

fn throttled(response: Response, retry_after: Option<&'static str>) -> Response {
    match retry_after {
        Some(value) => response.with("Retry-After", value),
        None => response,
    }
}

fn plain(status: u16, code: &str, message: &str) -> Response {
    error(status, json!({"code": code, "message": message}))
}

fn graph(status: u16, code: &str, message: &str) -> Response {
    let inner = json!({"date": "2026-01-09T02:02:12", "request-id": "r", "client-request-id": "c"});
    error(status, json!({"code": code, "message": message, "innerError": inner}))
}

fn dataverse(status: u16, code: &str, message: &str) -> Response {
    plain(status, code, message)
        .with("Content-Type", "application/json; odata.metadata=minimal")
        .with("OData-Version", "4.0")
}

fn error(status: u16, error: Value) -> Response {
    Response::json(status, &json!({"error": error}))
}
