use super::*;

const QUOTED: &str = "multipart/mixed; boundary=\"r1\"";

fn statuses(content_type: &str, body: &str) -> Result<Vec<(u16, Option<usize>)>, BatchError> {
    let answers = parse_batch(content_type, body.as_bytes())?;
    Ok(answers.iter().map(|answer| (answer.status, answer.change_set)).collect())
}

fn part(content: &str) -> String {
    format!("--r1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{content}\r\n")
}

#[test]
fn operations_are_written_byte_by_byte_as_the_service_wants_them() {
    let patch = Operation {
        method: "PATCH",
        target: "/api/data/v9.2/items(code='1')".to_owned(),
        headers: vec![("If-Match", "*")],
        body: "{\"name\":\"ok\"}".to_owned(),
    };
    let delete = Operation {
        method: "DELETE",
        target: "/api/data/v9.2/items(code='2')".to_owned(),
        headers: Vec::new(),
        body: String::new(),
    };
    let text = String::from_utf8(compose("batch_x", &[patch, delete])).unwrap();
    assert_eq!(
        text,
        "--batch_x\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
         PATCH /api/data/v9.2/items(code='1') HTTP/1.1\r\nIf-Match: *\r\n\
         Content-Type: application/json; type=entry\r\n\r\n{\"name\":\"ok\"}\r\n\
         --batch_x\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
         DELETE /api/data/v9.2/items(code='2') HTTP/1.1\r\n\r\n\r\n--batch_x--\r\n"
    );
}

#[test]
fn answers_come_in_order_whatever_the_quotes_and_blank_lines() {
    let body = [
        part("HTTP/1.1 204 No Content\r\nOData-EntityId: https://c.example/items(code='1')\r\n\r\n"),
        part("\r\n\r\nHTTP/1.1 400 Bad Request\r\nREQ_ID: 1\r\n\r\n{\"error\":{\"code\":\"0x80044331\"}}"),
        part("HTTP/1.1 204 No Content\r\n\r\n\r\n"),
        "--r1--\r\n".to_owned(),
    ]
    .concat();
    for content_type in [QUOTED, "Multipart/Mixed; charset=utf-8; Boundary=r1"] {
        let answers = parse_batch(content_type, body.as_bytes()).unwrap();
        let read: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(read, [204, 400, 204]);
        assert_eq!(answers[0].header("odata-entityid"), Some("https://c.example/items(code='1')"));
        assert_eq!(answers[1].body, b"{\"error\":{\"code\":\"0x80044331\"}}");
        assert_eq!(answers[2].body, b"");
    }
    // Line feeds alone, as a proxy may leave them.
    assert_eq!(statuses(QUOTED, &body.replace("\r\n", "\n")).unwrap().len(), 3);
}

#[test]
fn the_answers_of_a_change_set_know_that_they_belong_together() {
    let inner = |status: &str| {
        format!(
            "--c1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n\
             HTTP/1.1 {status}\r\nOData-Version: 4.0\r\n\r\n\r\n"
        )
    };
    let set = "--r1\r\nContent-Type: multipart/mixed; boundary=c1\r\n\r\n";
    let body =
        format!("{set}{}{}--c1--\r\n{}--r1--\r\n", inner("204 X"), inner("201 X"), part("HTTP/1.1 204 X\r\n\r\n"));
    assert_eq!(statuses(QUOTED, &body), Ok(vec![(204, Some(1)), (201, Some(1)), (204, None)]));
    let failed = format!("{set}{}--c1--\r\n--r1--\r\n", inner("412 X"));
    assert_eq!(statuses(QUOTED, &failed), Ok(vec![(412, Some(1))]));
}

#[test]
fn an_answer_that_is_none_is_never_an_empty_one() {
    let json = "{\"error\":{\"code\":\"0x80048d19\"}}";
    assert_eq!(statuses("application/json", json), Err(BatchError::NoMultipart));
    assert_eq!(statuses("multipart/mixed", ""), Err(BatchError::NoMultipart));
    assert_eq!(statuses("multipart/mixed; boundary=", ""), Err(BatchError::NoMultipart));
    assert_eq!(statuses(QUOTED, json), Err(BatchError::NoBoundary));
    assert_eq!(statuses(QUOTED, "--r10\r\n\r\n--r10--"), Err(BatchError::NoBoundary));
    for wrong in ["", "204 No Content\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 99 X\r\n\r\n"] {
        let body = format!("{}--r1--", part(wrong));
        let expected = BatchError::Part { part: 1, problem: "has no status line" };
        assert_eq!(statuses(QUOTED, &body), Err(expected), "{wrong:?}");
    }
}

#[test]
fn an_answer_that_was_cut_gives_the_parts_that_came() {
    let body = format!("{}{}", part("HTTP/1.1 204 X\r\n\r\n"), part("HTTP/1.1 204 X\r\n"));
    assert_eq!(statuses(QUOTED, &body).unwrap().len(), 2);
    let text = body.as_bytes();
    for end in 0..text.len() {
        // No cut may bring the parser down.
        let _any = parse_batch(QUOTED, &text[..end]);
    }
}

#[test]
fn the_recorded_batches_are_read_as_they_were_meant() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/microsoft-contract/dataverse");
    let recorded = [
        ("25-batch-plain.json", vec![204, 204, 200]),
        ("26-batch-changeset.json", vec![204, 204]),
        ("27-batch-stops-at-first-error.json", vec![204, 400]),
        ("28-batch-continue-on-error.json", vec![204, 400, 204]),
    ];
    for (name, wanted) in recorded {
        // The records are not part of the repository: where they are away, the fixtures above speak.
        let Ok(text) = std::fs::read_to_string(folder.join(name)) else { return };
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        let answer = &record["response"];
        let kind = answer["headers"]["Content-Type"].as_str().unwrap();
        let read = parse_batch(kind, answer["body"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(read.iter().map(|answer| answer.status).collect::<Vec<_>>(), wanted, "{name}");
    }
}

#[test]
fn the_seeds_of_the_fuzzing_are_batches_with_answers() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/batch");
    for seed in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(seed.unwrap().path()).unwrap();
        let (content_type, body) = text.split_once('\n').unwrap();
        assert!(!parse_batch(content_type, body.as_bytes()).unwrap().is_empty());
    }
}
