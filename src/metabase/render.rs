//! Fills the templates of questions and titles for one scope. Pure.

use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::clicks;
use super::content::{Content, Problem, Question};
use super::fence::Fence;
use super::optional::tags;
use crate::access::{Scope, Tree};

/// Renders for every scope; one environment serves all of them.
pub(super) struct Renderer<'a> {
    tree: &'a Tree,
    content: &'a Content,
    environment: Environment<'static>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(tree: &'a Tree, content: &'a Content) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        Self { tree, content, environment }
    }

    /// Fills a title or description.
    pub(super) fn text(&self, template: &str, scope: &Scope) -> Result<String, String> {
        let brand = scope.brand().and_then(|id| self.tree.brand(id));
        let context = context! {
            title => self.tree.title(scope),
            scope => scope.to_string(),
            level => scope.kind().to_string(),
            brand => brand.map_or("", |brand| brand.title.as_str()),
        };
        self.environment.render_str(template, context).map_err(|error| told(&error))
    }

    /// Fills a question's query and proves that it stays within its scope.
    pub(super) fn sql(&self, question: &Question, scope: &Scope) -> Result<String, String> {
        let fence = Fence { scope, unscoped: &self.content.collections.unscoped };
        let (plain, schema) = (fence.condition(None), fence.schema());
        let marked = fence.condition(Some(ALIAS));
        let in_scope = move |alias: Option<String>| match alias {
            // The alias is a word of the template's author, never of data.
            Some(alias) => marked.replace(ALIAS, &alias),
            None => plain.clone(),
        };
        // Metabase fills it in, bound as a value.
        let parameter = |name: String| format!("{{{{{name}}}}}");
        let context = context! {
            schema,
            level => scope.kind().to_string(),
            in_scope => Value::from_function(in_scope),
            parameter => Value::from_function(parameter),
        };
        let sql = self.environment.render_str(&question.sql, context).map_err(|error| told(&error))?;
        let unknown: Vec<String> = tags(&sql)
            .filter(|tag| !question.front.parameters.contains_key(*tag))
            .map(|tag| format!("the front matter has no parameter `{tag}`"))
            .collect();
        if !unknown.is_empty() {
            return Err(unknown.join("; "));
        }
        match fence.check(&sql) {
            Ok(()) => Ok(sql),
            Err(wrong) => Err(wrong.join("; ")),
        }
    }
}

const ALIAS: &str = "alias_of_the_table";

fn told(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" in line {line} of the query")).unwrap_or_default();
    format!("{error}{line}")
}

/// Checks that every question stays within every kind of scope its dashboards
/// have, on a made-up tree. What `check` runs without a warehouse.
pub fn check(content: &Content) -> Vec<Problem> {
    let tree = sample_tree();
    let renderer = Renderer::new(&tree, content);
    let mut problems = Vec::new();
    for (file, dashboard) in &content.dashboards {
        let levels: Vec<_> = dashboard.levels().collect();
        for scope in tree.scopes().into_iter().filter(|scope| levels.contains(&scope.kind())) {
            let texts = dashboard.cards.iter().flat_map(|card| [card.text.as_ref(), card.heading.as_ref()]).flatten();
            let titles = dashboard.parameters.iter().map(|parameter| &parameter.title);
            for text in texts.chain(titles).chain([&dashboard.title, &dashboard.description]) {
                if let Err(message) = renderer.text(text, &scope) {
                    let file = format!("metabase/dashboards/{file}.toml");
                    problems.push(Problem { file, line: 0, message });
                }
            }
            for name in dashboard.questions() {
                let Some(question) = content.questions.get(name) else { continue };
                let sql = match renderer.sql(question, &scope) {
                    Ok(sql) => sql,
                    Err(message) => {
                        let file = format!("metabase/questions/{name}.sql");
                        problems.push(Problem { file, line: question.line, message });
                        continue;
                    }
                };
                let shown = dashboard.cards.iter().filter(|card| card.question.as_ref() == Some(name));
                for column in
                    shown.filter_map(|card| card.click.as_ref()).flat_map(|click| clicks::missing(click, &sql))
                {
                    let file = format!("metabase/dashboards/{file}.toml");
                    let message =
                        format!("the click on `{name}` names the column `{column}`, which its query does not have");
                    problems.push(Problem { file, line: 0, message });
                }
            }
        }
    }
    problems.dedup();
    problems
}

fn sample_tree() -> Tree {
    use crate::access::{Brand, Store};
    let store =
        Store { id: "000101".into(), name: "Sample".to_owned(), region: Some("North".to_owned()), closed_on: None };
    Tree { brands: vec![Brand { id: "sample".into(), title: "Sample".to_owned(), stores: vec![store] }] }
}
