//! Our reading, checking and typing of a file next to plain `arrow-csv`, which reads
//! the same bytes to the same types but checks nothing; and our parting into cells next
//! to the `csv` crate's.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use criterion::{Criterion, Throughput};
use storekeeper_benches::fastest_in_turns;

const ROWS: u64 = 200_000;
const ROUNDS: usize = 15;

fn theirs(schema: &Arc<Schema>, bytes: &[u8]) -> u64 {
    let reader = arrow_csv::ReaderBuilder::new(Arc::clone(schema))
        .with_header(true)
        .with_batch_size(8192)
        .build(Cursor::new(bytes))
        .expect("a reader");
    reader.map(|batch| batch.expect("the generated file is whole").num_rows() as u64).sum()
}

/// Parts a file into cells by the `csv` crate.
fn split(bytes: &[u8]) -> u64 {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let (mut record, mut cells) = (csv::StringRecord::new(), 0);
    while reader.read_record(&mut record).expect("the generated file is whole") {
        cells += record.len() as u64;
    }
    cells
}

fn main() {
    let mut text = storekeeper_benches::header().to_owned();
    (0..ROWS).for_each(|number| storekeeper_benches::push_row(&mut text, number));
    let contract = storekeeper_benches::contract();
    // The typed schema without the row's number, which `arrow-csv` has none of.
    let schema = contract.schema();
    let schema = Arc::new(Schema::new(schema.fields()[..contract.columns.len()].to_vec()));
    let ours = || storekeeper_benches::read_and_check(&contract, Cursor::new(text.as_bytes())).0;

    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("csv");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("storekeeper", |bencher| bencher.iter(ours));
    group.bench_function("arrow-csv", |bencher| bencher.iter(|| theirs(&schema, text.as_bytes())));
    group.finish();
    criterion.final_summary();

    assert_eq!((ours(), theirs(&schema, text.as_bytes())), (ROWS, ROWS), "both read every row");
    let [our_time, their_time] = fastest_in_turns(ROUNDS, ours, || theirs(&schema, text.as_bytes()));
    let speed = |time: Duration| text.len() as f64 / time.as_secs_f64() / 1e6;
    println!("storekeeper: {:.0} MB/s, checked and typed", speed(our_time));
    println!("arrow-csv:   {:.0} MB/s, typed", speed(their_time));
    println!(
        "ratio:       {:.2} (ours / theirs; the aim is at most 1.50)",
        our_time.as_secs_f64() / their_time.as_secs_f64()
    );
    let bytes = text.as_bytes();
    assert_eq!(storekeeper_benches::split(bytes), split(bytes), "both find every cell");
    let [our_time, their_time] = fastest_in_turns(ROUNDS, || storekeeper_benches::split(bytes), || split(bytes));
    println!("parted into cells only: {:.0} MB/s, by the `csv` crate {:.0} MB/s", speed(our_time), speed(their_time));
}
