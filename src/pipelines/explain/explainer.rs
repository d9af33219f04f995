//! Questions answered, many at once: each file is read once, however many ask for it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::answer::{Answer, Found, RowAnswer, Standing, TransformAnswer};
use super::assemble::{Draft, Known, earlier, one};
use super::cells::Cells;
use super::personal::Shown;
use super::question::Question;
use super::rows::rows;
use super::{refused, tables};
use crate::ids::{BrandId, PipelineName};
use crate::pipelines::made::is_made;
use crate::pipelines::{Error, FORECAST_TABLE, Pipeline, columns};
use crate::telemetry::chain;
use crate::transforms::{self, Feed};
use crate::warehouse::lineage::{self, Relation};
use crate::warehouse::origins::{self, FileFacts, LoadFacts};
use crate::warehouse::{Warehouse, contents};

/// Versions that are read for one question.
const VERSIONS: i64 = 10_000;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// It cannot be meant so.
    #[error("{message}")]
    Asked {
        /// What is wrong with it.
        message: String,
        /// What would be right.
        hint: String,
    },
    /// The ledger or the tables could not be read.
    #[error(transparent)]
    Lineage(lineage::Error),
    /// A file's bytes could not be read.
    #[error(transparent)]
    Contents(contents::Error),
    /// What pipelines keep could not be read.
    #[error(transparent)]
    Pipeline(Error),
}

impl ExplainError {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Asked { hint, .. } => Some(hint),
            Self::Lineage(error) => error.hint(),
            Self::Contents(error) => error.hint(),
            Self::Pipeline(error) => error.hint(),
        }
    }

    /// Whether the question is to blame.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Asked { .. } | Self::Lineage(lineage::Error::NoSuchValue { .. }))
    }

    pub(super) fn asked(message: String, hint: String) -> Self {
        Self::Asked { message, hint }
    }
}

/// Answers questions about one warehouse.
#[derive(Debug)]
pub struct Explainer<'a> {
    /// Where the rows are.
    pub warehouse: &'a Warehouse,
    /// The definitions as they read now.
    pub pipelines: &'a [Pipeline],
    /// The brands to look at.
    pub brands: Vec<BrandId>,
    /// Bound on what a workbook unpacks to.
    pub worksheet_limit_bytes: u64,
    /// Whether personal values are shown.
    pub with_personal: bool,
    /// Rows shown for one question.
    pub limit: usize,
}

/// A row that is looked for in quarantine, and the answer that it belongs to.
struct Sought {
    answer: usize,
    found: usize,
    asked: Vec<(String, Option<String>)>,
}

impl Explainer<'_> {
    /// Answers questions, in their order.
    ///
    /// # Errors
    /// When one of them cannot be meant so, or PostgreSQL refuses.
    pub async fn explain(&self, questions: &[Question]) -> Result<Vec<Answer>, ExplainError> {
        let mut answers = Vec::new();
        let mut drafts = Vec::new();
        let mut places = Vec::new();
        let mut sought = Vec::new();
        let mut relations: BTreeMap<(BrandId, String), Option<Relation>> = BTreeMap::new();
        for (at, question) in questions.iter().enumerate() {
            let (brand, name) = question.place();
            let brands: Vec<&BrandId> =
                self.brands.iter().filter(|known| brand.as_ref().is_none_or(|brand| brand == *known)).collect();
            let mut answer = Answer { table: name.to_owned(), as_of: question.as_of, found: Vec::new() };
            let mut there = false;
            for brand in brands {
                let place = (brand.clone(), name.to_owned());
                if !relations.contains_key(&place) {
                    let relation = Relation::find(self.warehouse, brand, name).await.map_err(ExplainError::Lineage)?;
                    relations.insert(place.clone(), relation);
                }
                let Some(Some(relation)) = relations.get(&place) else { continue };
                there = true;
                let key = self.key_of(relation);
                let asked = question.asked(relation, &key, self.pipelines)?;
                let found = answer.found.len();
                answer.found.push(Found::of(brand, &asked));
                if relation.view {
                    if question.as_of.is_some() {
                        return Err(ExplainError::asked(
                            format!("view `{name}` shows what is known now, and no other moment"),
                            "ask a table for what was known; `explain` of the view names those it reads".to_owned(),
                        ));
                    }
                    answer.found[found].view = Some(self.view(brand, relation, &asked, &question.columns).await?);
                    continue;
                }
                let draft = self.draft(brand, relation, &key, &asked, question.as_of, &question.columns).await?;
                if draft.rows.iter().all(|row| row.standing != Standing::There) || questions.len() == 1 {
                    sought.push(Sought { answer: at, found, asked });
                }
                places.push((at, found));
                drafts.push(draft);
            }
            if !there {
                return Err(self.no_table(brand.as_ref(), name).await?);
            }
            answers.push(answer);
        }
        let more: Vec<bool> = drafts.iter().map(|draft| draft.more).collect();
        for (((at, found), rows), more) in places.into_iter().zip(self.finish(drafts).await?).zip(more) {
            answers[at].found[found].rows = rows;
            answers[at].found[found].more_rows = more;
        }
        self.seek(&mut answers, &sought).await?;
        for answer in &mut answers {
            // A brand that has nothing to say is left out, unless none has.
            let says = |found: &Found| !found.rows.is_empty() || !found.refused.is_empty() || found.view.is_some();
            if answer.found.iter().any(says) {
                answer.found.retain(says);
            }
        }
        Ok(answers)
    }

    /// What tells the rows of a table from each other.
    pub(super) fn key_of(&self, relation: &Relation) -> Vec<String> {
        if !relation.key.is_empty() || relation.view {
            return relation.key.clone();
        }
        let key = self.loaders(&relation.name).next().map(|pipeline| pipeline.definition.contract.key.clone());
        key.unwrap_or_default()
    }

    fn loaders<'s>(&'s self, table: &'s str) -> impl Iterator<Item = &'s Pipeline> {
        self.pipelines.iter().filter(move |pipeline| pipeline.definition.destination.table == table)
    }

    async fn no_table(&self, brand: Option<&BrandId>, name: &str) -> Result<ExplainError, ExplainError> {
        let mut names = BTreeSet::new();
        for known in self.brands.iter().filter(|known| brand.is_none_or(|brand| brand == *known)) {
            names.extend(lineage::names(self.warehouse, known).await.map_err(ExplainError::Lineage)?);
        }
        let whose = brand.map(|brand| format!(" of brand `{brand}`")).unwrap_or_default();
        let hint = if names.is_empty() {
            "nothing was loaded yet: `storekeeper run --all`".to_owned()
        } else {
            format!("there are {}", names.into_iter().collect::<Vec<_>>().join(", "))
        };
        Ok(ExplainError::asked(format!("there is no table or view `{name}`{whose}"), hint))
    }

    /// Reads the rows that are asked for.
    pub(super) async fn draft(
        &self,
        brand: &BrandId,
        relation: &Relation,
        key: &[String],
        asked: &[(String, Option<String>)],
        as_of: Option<DateTime<Utc>>,
        columns: &[String],
    ) -> Result<Draft, ExplainError> {
        if !relation.loaded {
            return Err(ExplainError::asked(
                format!("rows of `{}` do not say which load brought them", relation.name),
                "`explain` is for tables that pipelines load, and for views over them".to_owned(),
            ));
        }
        let versions = lineage::versions(self.warehouse, relation, asked, VERSIONS).await;
        let versions = versions.map_err(ExplainError::Lineage)?;
        let cut = versions.len() as i64 >= VERSIONS;
        let ids: BTreeSet<i64> =
            versions.iter().flat_map(|version| [Some(version.since()), version.superseded_by]).flatten().collect();
        let loads = if as_of.is_some() { self.loads(&ids).await? } else { BTreeMap::new() };
        let mut found = rows(versions, key, as_of, &loads);
        if as_of.is_none() && found.iter().any(|row| row.standing == Standing::There) && key.is_empty() {
            // Without a key an earlier version cannot be told from another row.
            found.retain(|row| row.standing == Standing::There);
        }
        let more = found.len() > self.limit || cut;
        found.truncate(self.limit);
        let (brand, relation) = (brand.clone(), relation.clone());
        Ok(Draft { brand, relation, key: key.to_vec(), columns: columns.to_vec(), rows: found, more })
    }

    async fn loads(&self, ids: &BTreeSet<i64>) -> Result<BTreeMap<i64, LoadFacts>, ExplainError> {
        let ids: Vec<i64> = ids.iter().copied().collect();
        let loads = origins::loads(self.warehouse, &ids).await.map_err(ExplainError::Lineage)?;
        Ok(loads.into_iter().map(|load| (load.load_id, load)).collect())
    }

    /// Says where rows came from.
    pub(super) async fn finish(&self, drafts: Vec<Draft>) -> Result<Vec<Vec<RowAnswer>>, ExplainError> {
        let (mut load_ids, mut file_ids) = (BTreeSet::new(), BTreeSet::new());
        for row in drafts.iter().flat_map(|draft| &draft.rows) {
            for version in row.earlier.iter().chain([&row.meant]) {
                load_ids
                    .extend([Some(version.load_id), version.restored_by, version.superseded_by].into_iter().flatten());
                file_ids.insert(version.file_id);
            }
        }
        let loads = self.loads(&load_ids).await?;
        let file_ids: Vec<i64> = file_ids.into_iter().collect();
        let files = origins::files(self.warehouse, &file_ids).await.map_err(ExplainError::Lineage)?;
        let files: BTreeMap<i64, FileFacts> = files.into_iter().map(|file| (file.file_id, file)).collect();
        let mut known: BTreeMap<(BrandId, String), Option<Known>> = BTreeMap::new();
        let mut shown: BTreeMap<(BrandId, String), Shown> = BTreeMap::new();
        for draft in &drafts {
            let readers = draft.rows.iter().filter_map(|row| Some(files.get(&row.meant.file_id)?.pipeline.clone()));
            for name in readers.collect::<BTreeSet<String>>() {
                let place = (draft.brand.clone(), name.clone());
                if let Entry::Vacant(vacant) = known.entry(place) {
                    vacant.insert(self.known(&draft.brand, &PipelineName(name)).await?);
                }
            }
            let place = (draft.brand.clone(), draft.relation.name.clone());
            if let Entry::Vacant(vacant) = shown.entry(place) {
                vacant.insert(self.shown(&draft.brand, &draft.relation).await?);
            }
        }
        let cells = self.read_files(&drafts, &files, &known).await?;
        let mut finished = Vec::new();
        for draft in drafts {
            let shown = &shown[&(draft.brand.clone(), draft.relation.name.clone())];
            let mut answers = Vec::new();
            for row in &draft.rows {
                let file = files.get(&row.meant.file_id);
                let known = file.and_then(|file| known.get(&(draft.brand.clone(), file.pipeline.clone()))?.as_ref());
                let mut answer = one(&draft, row, shown, known, &loads, file, cells.get(&row.meant.file_id));
                answer.transform = known.and_then(|known| self.transform(known));
                answer.earlier = earlier(&draft, row, shown, &loads, &files);
                if let (FORECAST_TABLE, Some(load)) = (draft.relation.name.as_str(), &answer.load) {
                    answer.forecast = self.basis(&draft.brand, &row.meant, load).await?;
                }
                answers.push(answer);
            }
            finished.push(answers);
        }
        Ok(finished)
    }

    /// Reads the cells of all rows, file by file.
    async fn read_files(
        &self,
        drafts: &[Draft],
        files: &BTreeMap<i64, FileFacts>,
        known: &BTreeMap<(BrandId, String), Option<Known>>,
    ) -> Result<BTreeMap<i64, Cells>, ExplainError> {
        let mut wanted: BTreeMap<i64, (BrandId, BTreeSet<i64>)> = BTreeMap::new();
        for draft in drafts.iter().filter(|draft| !is_made(&draft.relation.name)) {
            for row in draft.rows.iter().filter(|row| row.standing != Standing::NotYet) {
                if let Some(source_row) = row.meant.source_row {
                    let rows =
                        wanted.entry(row.meant.file_id).or_insert_with(|| (draft.brand.clone(), BTreeSet::new()));
                    rows.1.insert(source_row);
                }
            }
        }
        let mut cells = BTreeMap::new();
        for (file_id, (brand, rows)) in wanted {
            let Some(file) = files.get(&file_id) else { continue };
            let known = known.get(&(brand, file.pipeline.clone())).and_then(Option::as_ref);
            let read = self.cells(known.map(|known| &known.pipeline), file, &rows).await?;
            cells.insert(file_id, read);
        }
        Ok(cells)
    }

    /// A definition as a brand has it, with the columns that files brought along.
    async fn known(&self, brand: &BrandId, name: &PipelineName) -> Result<Option<Known>, ExplainError> {
        let Some(pipeline) = self.pipelines.iter().find(|pipeline| pipeline.name == *name) else { return Ok(None) };
        let pipeline = columns::recall(self.warehouse, pipeline, brand).await.map_err(ExplainError::Pipeline)?;
        let feeds = match &pipeline.transform {
            None => Ok(Vec::new()),
            Some(sql) => {
                transforms::feeds(sql, pipeline.definition.contract.schema()).await.map_err(|error| chain(&error))
            }
        };
        Ok(Some(Known { pipeline, feeds }))
    }

    /// Which columns of a table may be shown.
    pub(in crate::pipelines) async fn shown(
        &self,
        brand: &BrandId,
        relation: &Relation,
    ) -> Result<Shown, ExplainError> {
        if self.with_personal {
            return Ok(Shown::everything());
        }
        let names: Vec<PipelineName> = self.loaders(&relation.name).map(|pipeline| pipeline.name.clone()).collect();
        let mut loaders = Vec::new();
        for name in &names {
            loaders.extend(self.known(brand, name).await?);
        }
        let loaders: Vec<(&Pipeline, Vec<Feed>)> =
            loaders.iter().map(|known| (&known.pipeline, known.feeds.clone().unwrap_or_default())).collect();
        Ok(Shown::of_table(relation, &loaders))
    }

    /// The definition of a pipeline as a brand has it.
    pub(super) async fn pipeline_of(&self, brand: &BrandId, name: &str) -> Result<Option<Pipeline>, ExplainError> {
        Ok(self.known(brand, &PipelineName(name.to_owned())).await?.map(|known| known.pipeline))
    }

    fn transform(&self, known: &Known) -> Option<TransformAnswer> {
        let sql = known.pipeline.transform.clone()?;
        let file = known.pipeline.folder.join("transform.sql").display().to_string();
        let told = known.feeds.as_ref().is_ok_and(|feeds| feeds.iter().all(|feed| feed.inputs.is_some()));
        Some(TransformAnswer { file, sql, told })
    }

    /// Looks for rows in quarantine; each table's is gone through once.
    async fn seek(&self, answers: &mut [Answer], sought: &[Sought]) -> Result<(), ExplainError> {
        let mut by_table: BTreeMap<(BrandId, String), Vec<&Sought>> = BTreeMap::new();
        for one in sought {
            let place = (answers[one.answer].found[one.found].brand.clone(), answers[one.answer].table.clone());
            by_table.entry(place).or_default().push(one);
        }
        for ((brand, table), sought) in by_table {
            let loaders: Vec<&Pipeline> = self.loaders(&table).collect();
            let names: Vec<String> = loaders.iter().map(|pipeline| pipeline.name.0.clone()).collect();
            let take = |refusal: tables::Refusal| {
                let Some(pipeline) = loaders.iter().find(|pipeline| pipeline.name.0 == refusal.pipeline) else {
                    return;
                };
                for Sought { answer, found, asked } in &sought {
                    let list = &mut answers[*answer].found[*found].refused;
                    if list.len() >= self.limit {
                        continue;
                    }
                    if let Some(not_compared) = refused::meets(pipeline, &refusal, asked) {
                        list.push(refused::shown(pipeline, refusal.clone(), not_compared, self.with_personal));
                    }
                }
            };
            tables::each_refusal(self.warehouse, &brand, &names, take).await.map_err(ExplainError::Pipeline)?;
        }
        Ok(())
    }
}

impl Found {
    fn of(brand: &BrandId, asked: &[(String, Option<String>)]) -> Self {
        let asked = asked.iter().map(|(column, value)| (column.clone(), value.clone().into())).collect();
        Self { brand: brand.clone(), asked, rows: Vec::new(), more_rows: false, refused: Vec::new(), view: None }
    }
}
