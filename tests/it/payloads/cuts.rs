//! Every reader of rows, cut off at every byte and with every byte changed: an answer or a refusal, never a panic, and
//! never more rows than were sent.
//!
//! Next: `../../fuzz/reader.rs`, which goes further.

use rookery::codec::payload::decode;
use rookery::runtime::Schema;
use rookery::tensor::ValueKind;

use super::recordio::{Numbers, record};

/// Two rows of three columns in each type that is read.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let records = [record(Numbers::F32(&[1.5, -2.0, 3e-3]), &[], &[]), record(Numbers::F64(&[4.0, 5.25]), &[0, 2], &[3])].concat();
    vec![
        ("text/csv", b"1.5,-2,3e-3\r\n4,\"5.25\",nan\n".to_vec()),
        ("application/json", br#"{"instances":[[1.5,-2,3e-3],{"features":[4,5.25,null]}]}"#.to_vec()),
        ("application/json", br#"{"instances":[{"data":{"features":{"keys":[0,2],"values":[1.5,2],"shape":[3]}}},[1,2,3]]}"#.to_vec()),
        ("application/jsonlines", b"{\"features\":[1.5,-2,3e-3]}\n[4,5.25,-6]\n".to_vec()),
        ("text/libsvm", b"1 0:1.5 2:-2\n0 1:5.25\n".to_vec()),
        ("application/x-recordio-protobuf", records),
    ]
}

#[test]
fn every_cut_and_every_changed_byte_of_a_body_is_read_or_refused() {
    let schema = Schema::matrix(ValueKind::F32, 3, 1);
    let read = |media: &str, body: &[u8]| decode(Some(media), body, &schema.expect(1 << 12)).map(|blocks| blocks[0].rows());
    for (media, body) in bodies() {
        assert_eq!(read(media, &body).unwrap(), 2, "{media}");
        let mut refused = 0;
        for end in 0..body.len() {
            match read(media, &body[..end]) {
                Ok(rows) => assert!(rows <= 2, "{media}: {rows} rows in the first {end} bytes"),
                Err(error) => {
                    assert!(!error.message().is_empty());
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "{media}: no cut was refused");
        for at in 0..body.len() {
            for change in 0..=u8::MAX {
                let mut changed = body.clone();
                changed[at] = change;
                if let Ok(rows) = read(media, &changed) {
                    assert!(rows <= body.len(), "{media}: byte {at} as {change}");
                }
            }
        }
    }
}
