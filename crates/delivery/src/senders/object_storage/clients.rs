//! Stores of buckets, kept by destination: they hold tokens, and checking a key costs.

use std::sync::Arc;

use catalog::SenderOptions;
use model::DestinationId;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use tokio::time::Instant;
use url::Url;

use super::super::peers::Peers;
use super::ObjectStorageOptions;
use super::service::Connector;

/// See the module.
pub(super) struct Clients(Peers<Bucket, Arc<dyn ObjectStore>>);

/// What a client is made of: other options are another client.
#[derive(PartialEq)]
pub(super) struct Bucket {
    pub(super) scheme: String,
    pub(super) name: String,
    pub(super) options: SenderOptions,
}

impl Clients {
    pub(super) fn new(options: &ObjectStorageOptions) -> Self {
        Self(Peers::new(options.clients_max, options.client_idle_ms_max))
    }

    /// # Errors
    /// The options make no client: what an operator must mend.
    pub(super) fn get(
        &self,
        destination: DestinationId,
        bucket: Bucket,
    ) -> Result<Arc<dyn ObjectStore>, String> {
        let now = Instant::now();
        let client = match self.0.find(destination, &bucket, now) {
            Some(known) => known,
            None => {
                let store = store(&bucket)?;
                self.0.add(destination, bucket, store, now)
            }
        };
        Ok(Arc::clone(&client.state))
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.0.sweep(now, |_| ());
    }
}

fn store(bucket: &Bucket) -> Result<Arc<dyn ObjectStore>, String> {
    let Bucket {
        scheme,
        name,
        options,
    } = bucket;
    match scheme.as_str() {
        "s3" => s3(name, options),
        "gs" => google(name, options),
        "az" => azure(name, options),
        other => Err(format!("{other}: is no scheme of object storage")),
    }
}

/// Every try is the scheduler's.
fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// Plain HTTP is the egress guard's to judge.
fn client_options() -> ClientOptions {
    ClientOptions::new().with_allow_http(true)
}

fn told(error: object_store::Error) -> String {
    error.to_string()
}

/// Without it a store would look for credentials of the machine.
fn needed<'a>(options: &'a SenderOptions, name: &str) -> Result<&'a str, String> {
    options
        .get(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("the option {name} is not set"))
}

fn s3(bucket: &str, options: &SenderOptions) -> Result<Arc<dyn ObjectStore>, String> {
    let region = options
        .get("aws_region")
        .filter(|region| !region.is_empty());
    let endpoint = options.get("aws_endpoint").filter(|url| !url.is_empty());
    let path_style = match options.get("aws_path_style") {
        Some("true") => true,
        Some("false") => false,
        None | Some("") => endpoint.is_some(),
        Some(other) => return Err(format!("aws_path_style is {other:?}: use true or false")),
    };
    // A certificate for *.s3.amazonaws.com does not cover another dot.
    let path_style = path_style || (endpoint.is_none() && bucket.contains('.'));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_access_key_id(needed(options, "aws_access_key_id")?)
        .with_secret_access_key(needed(options, "aws_secret_access_key")?)
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(client_options())
        .with_retry(no_retries())
        .with_http_connector(Connector);
    if let Some(region) = region {
        builder = builder.with_region(region);
    } else if endpoint.is_none() {
        return Err("the option aws_region is not set".to_owned());
    }
    if let Some(token) = options.get("aws_session_token").filter(|t| !t.is_empty()) {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(match path_style {
            true => endpoint.to_owned(),
            false => with_bucket(endpoint, bucket)?,
        });
    }
    Ok(Arc::new(builder.build().map_err(told)?))
}

/// `https://objects.example` and `b`: `https://b.objects.example`.
fn with_bucket(endpoint: &str, bucket: &str) -> Result<String, String> {
    let wrong = || "aws_endpoint is no URL with a host's name".to_owned();
    let mut url = Url::parse(endpoint).map_err(|_| wrong())?;
    let host = url.domain().ok_or_else(wrong)?;
    let host = format!("{bucket}.{host}");
    url.set_host(Some(&host)).map_err(|_| wrong())?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn google(bucket: &str, options: &SenderOptions) -> Result<Arc<dyn ObjectStore>, String> {
    let store = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_service_account_key(needed(options, "google_service_account")?)
        .with_client_options(client_options())
        .with_retry(no_retries())
        .with_http_connector(Connector)
        .build()
        .map_err(told)?;
    Ok(Arc::new(store))
}

fn azure(container: &str, options: &SenderOptions) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(container)
        .with_account(needed(options, "azure_account")?)
        .with_client_options(client_options())
        .with_retry(no_retries())
        .with_http_connector(Connector);
    let key = options.get("azure_account_key").filter(|k| !k.is_empty());
    let sas = options.get("azure_sas_token").filter(|t| !t.is_empty());
    builder = match (key, sas) {
        (Some(key), None) => builder.with_access_key(key),
        (None, Some(sas)) => builder.with_sas_authorization(sas_pairs(sas)),
        (Some(_), Some(_)) => {
            return Err("azure_account_key and azure_sas_token are both set: leave one".to_owned());
        }
        (None, None) => {
            return Err("neither azure_account_key nor azure_sas_token is set".to_owned());
        }
    };
    if let Some(endpoint) = options.get("azure_endpoint").filter(|url| !url.is_empty()) {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    Ok(Arc::new(builder.build().map_err(told)?))
}

/// `?sv=..&sig=..`, as Azure shows it.
fn sas_pairs(token: &str) -> Vec<(String, String)> {
    let token = token.trim_start_matches('?').as_bytes();
    url::form_urlencoded::parse(token).into_owned().collect()
}
