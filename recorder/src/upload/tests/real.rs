//! Against a server that is not our own: `moto_server -p 5555` with `LOCKGATE_TEST_S3=127.0.0.1:5555`.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::hash;
use super::site::{Site, run};
use crate::upload::settings::Target;
use crate::upload::store::{Kind, Store};
use crate::upload::try_store;
use object_store::multipart::MultipartStore;

#[test]
#[ignore = "needs a server that speaks S3 without keys, at LOCKGATE_TEST_S3"]
fn a_real_server_takes_large_files_in_pieces_and_nothing_over_what_is_there() {
    let server = std::env::var("LOCKGATE_TEST_S3").unwrap();
    let bucket = format!("u{}", std::process::id());
    make_bucket(&server, &bucket);
    let target = || Target::Bucket { bucket: bucket.clone(), prefix: "p".into() };
    let site = Site::with(|_| (target(), Some(format!("http://{server}"))));
    run(try_store(&site.settings, &site.root())).unwrap();
    site.ended(&[20 << 20, 10]);
    // What a crash left.
    let store = Store::open(&site.settings).unwrap();
    let path = store.path("r/s-1/7-camera-1.webm").unwrap();
    let Kind::S3(s3) = &store.kind else { panic!("it is a bucket") };
    let begun = run(s3.create_multipart(&path)).unwrap();
    let mut ledger = site.ledger();
    ledger.pending.insert(store.url("r/s-1/7-camera-1.webm"), begun.clone());
    ledger.save(&site.archive()).unwrap();
    assert!(site.look());
    let ledger = site.ledger();
    assert!(ledger.pending.is_empty() && ledger.problems.is_empty() && ledger.files.len() == 6);
    assert_eq!(ledger.files["7-camera-1.webm"].sha256, hash(&site.archive().join("7-camera-1.webm")).unwrap().sha256);
    let again = run(s3.put_part(&path, &begun, 0, vec![0; 10].into()));
    assert!(again.is_err(), "what was begun before was ended");
    // Another site, with another content under the same names.
    let other = Site::with(|_| (target(), Some(format!("http://{server}"))));
    other.ended(&[20 << 20, 11]);
    assert!(other.look());
    assert!(other.ledger().problems["7-camera-2.webm"].what.contains("nothing is written over"));
    assert!(other.names() == ["7-camera-1.webm"], "the same content counts");
    // And everything goes.
    let mut site = site;
    site.delete_after = Some(std::time::Duration::ZERO);
    assert!(site.look() && !site.archive().exists());
    for name in ledger.files.keys() {
        let gone = run(store.head(&format!("r/s-1/{name}")));
        assert!(matches!(gone, Err(object_store::Error::NotFound { .. })), "{name}: {gone:?}");
    }
}

fn make_bucket(server: &str, bucket: &str) {
    let mut stream = TcpStream::connect(server).unwrap();
    let signed = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nHost: {server}\r\nAuthorization: {signed}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
