//! Plans a transform against a schema, and runs it over a stream.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{Stream, StreamExt as _};

/// The table a transform selects from.
pub const INPUT: &str = "input";

/// Why a transform could not be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The SQL does not fit the contract's columns.
    #[error("failed to plan the transform: {reason}")]
    Plan {
        /// What the planner said.
        reason: String,
    },
    /// It failed on the rows, e.g. a division by zero.
    #[error("failed to run the transform: {reason}")]
    Run {
        /// What the engine said.
        reason: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Plan { .. } => Some("`storekeeper check` plans each transform against its contract's columns"),
            Self::Run { .. } => None,
        }
    }
}

/// Plans a transform over an input of a given schema and says what comes out.
///
/// # Errors
/// When it is no single `SELECT`, or names columns that are not there.
pub async fn output_schema(sql: &str, input: SchemaRef) -> Result<SchemaRef, Error> {
    let empty = futures::stream::empty();
    let transform = Transform::new(sql, input, empty).await?;
    Ok(transform.schema)
}

/// A planned transform, ready to run once.
pub struct Transform {
    frame: datafusion::dataframe::DataFrame,
    schema: SchemaRef,
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transform").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Transform {
    /// Plans a transform over a stream of batches, which can be read once.
    ///
    /// # Errors
    /// When it is no single `SELECT`, or names columns that are not there.
    pub async fn new<S>(sql: &str, input: SchemaRef, batches: S) -> Result<Self, Error>
    where
        S: Stream<Item = RecordBatch> + Send + 'static,
    {
        let plan = |error: DataFusionError| Error::Plan { reason: error.strip_backtrace() };
        // One partition keeps the rows in the order of the file.
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(8192);
        let context = SessionContext::new_with_config(config);
        let once = Once { schema: input.clone(), batches: Mutex::new(Some(batches.boxed())) };
        let table = StreamingTable::try_new(input, vec![Arc::new(once)]).map_err(plan)?;
        context.register_table(INPUT, Arc::new(table)).map_err(plan)?;
        let select_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = context.sql_with_options(sql, select_only).await.map_err(plan)?;
        let mut scans = 0;
        let counted = frame.logical_plan().apply_with_subqueries(|node| {
            scans += usize::from(matches!(node, LogicalPlan::TableScan(_)));
            Ok(TreeNodeRecursion::Continue)
        });
        counted.map_err(plan)?;
        if scans > 1 {
            // A file streams past once and is not kept.
            return Err(Error::Plan { reason: format!("it reads `{INPUT}` {scans} times, and may read it once") });
        }
        let schema = Arc::new(frame.schema().as_arrow().clone());
        Ok(Self { frame, schema })
    }

    /// What comes out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How it is computed.
    pub(super) fn plan(&self) -> &LogicalPlan {
        self.frame.logical_plan()
    }

    /// Runs it.
    ///
    /// # Errors
    /// When the plan cannot start; each batch may fail on its own.
    pub async fn run(self) -> Result<impl Stream<Item = Result<RecordBatch, Error>> + Send, Error> {
        let run = |error: DataFusionError| Error::Run { reason: error.strip_backtrace() };
        let stream = self.frame.execute_stream().await.map_err(run)?;
        Ok(stream.map(move |batch| batch.map_err(run)))
    }
}

type Batches = futures::stream::BoxStream<'static, RecordBatch>;

/// A stream as a table that can be scanned once.
struct Once {
    schema: SchemaRef,
    batches: Mutex<Option<Batches>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let taken = self.batches.lock().ok().and_then(|mut batches| batches.take());
        let batches = match taken {
            Some(batches) => batches.map(Ok).boxed(),
            None => {
                let twice = DataFusionError::Execution("a transform may read `input` once".to_owned());
                futures::stream::once(async { Err(twice) }).boxed()
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray as _, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn input() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("amount", DataType::Int64, true),
        ]))
    }

    #[tokio::test]
    async fn rows_stream_through_in_their_order() {
        let batch = |names: [&str; 2], amounts: [i64; 2]| {
            let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
            RecordBatch::try_new(input(), vec![names, Arc::new(Int64Array::from(amounts.to_vec()))]).unwrap()
        };
        let batches = futures::stream::iter([batch(["a", "b"], [1, -2]), batch(["c", "d"], [3, 4])]);
        let transform =
            Transform::new("SELECT name, amount * 2 AS twice FROM input WHERE amount > 0", input(), batches)
                .await
                .unwrap();
        assert_eq!(transform.schema().field(1).name(), "twice");
        let out: Vec<RecordBatch> = transform.run().await.unwrap().map(Result::unwrap).collect().await;
        let twice: Vec<i64> =
            out.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(twice, [2, 6, 8]);
    }

    #[tokio::test]
    async fn a_transform_that_does_not_fit_says_what_is_missing() {
        let error = output_schema("SELECT nam FROM input", input()).await.unwrap_err();
        assert!(error.to_string().contains("nam"), "{error}");
        assert!(output_schema("CREATE TABLE x (a INT)", input()).await.is_err());
        let twice = "SELECT a.name FROM input a JOIN input b ON a.name = b.name";
        let error = output_schema(twice, input()).await.unwrap_err();
        assert!(error.to_string().contains("2 times"), "{error}");
    }
}
