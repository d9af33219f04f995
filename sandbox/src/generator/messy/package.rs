//! Writes workbooks part by part, so that they can be as bad as people's.
//!
//! A library that writes good workbooks has no words for a formula nobody
//! calculated or an error where a number should be.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use chrono::{Datelike as _, NaiveDate};
use zip::write::SimpleFileOptions;

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Blank,
    Text(String),
    /// A number, spelled as it shall stand in the file.
    Number(String),
    /// A date that carries a date format.
    Date(NaiveDate),
    /// A number shown with a percent sign.
    Percent(String),
    /// An error such as `#REF!`.
    Error(&'static str),
    /// A formula, with what it came to when it was calculated last.
    Formula(&'static str, Option<String>),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        if text.is_empty() { Self::Blank } else { Self::Text(text.to_owned()) }
    }
}

/// A line of a sheet.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub(super) hidden: bool,
    pub(super) cells: Vec<Cell>,
}

/// A sheet from cell A1 on; empty lines are left out of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub(super) name: String,
    pub(super) hidden: bool,
    pub(super) lines: Vec<Line>,
    /// Ranges such as `A2:A5`.
    pub(super) merged: Vec<String>,
}

impl Sheet {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds a line; answers with its number, from 1.
    pub(super) fn line(&mut self, cells: Vec<Cell>) -> u32 {
        self.lines.push(Line { hidden: false, cells });
        self.lines.len() as u32
    }

    /// Adds a line of texts.
    pub(super) fn texts(&mut self, texts: &[&str]) -> u32 {
        self.line(texts.iter().map(|text| Cell::from(*text)).collect())
    }
}

/// A workbook.
#[derive(Debug, Clone, Default)]
pub(super) struct Package {
    pub(super) sheets: Vec<Sheet>,
    /// Whether days are counted from 1904, as old Macs did.
    pub(super) from_1904: bool,
    /// Attributes of `calcPr`.
    pub(super) calculation: &'static str,
    /// Names for ranges, e.g. `("sales", "'A'!$A$1:$B$9")`.
    pub(super) names: Vec<(&'static str, String)>,
}

const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

impl Package {
    /// The bytes of the workbook.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut strings = Strings::default();
        let sheets: Vec<String> = self.sheets.iter().map(|sheet| self.sheet(sheet, &mut strings)).collect();
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let mut put = |path: &str, text: &str| {
            archive.start_file(path, SimpleFileOptions::default()).expect("a ZIP in memory takes every entry");
            archive.write_all(HEAD.as_bytes()).expect("memory takes every byte");
            archive.write_all(text.as_bytes()).expect("memory takes every byte");
        };
        put("[Content_Types].xml", &self.content_types());
        put(
            "_rels/.rels",
            &format!(
                "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
                 <Relationship Id=\"r1\" Type=\"{RELATIONS}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
            ),
        );
        put("xl/workbook.xml", &self.workbook());
        put("xl/_rels/workbook.xml.rels", &self.relations());
        put("xl/styles.xml", &styles());
        put("xl/sharedStrings.xml", &strings.xml());
        for (number, sheet) in (1..).zip(&sheets) {
            put(&format!("xl/worksheets/sheet{number}.xml"), sheet);
        }
        archive.finish().expect("a ZIP in memory can be finished").into_inner()
    }

    fn content_types(&self) -> String {
        let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml";
        let mut xml = format!(
            "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
             <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
             <Default Extension=\"xml\" ContentType=\"application/xml\"/>\
             <Override PartName=\"/xl/workbook.xml\" ContentType=\"{kind}.sheet.main+xml\"/>\
             <Override PartName=\"/xl/styles.xml\" ContentType=\"{kind}.styles+xml\"/>\
             <Override PartName=\"/xl/sharedStrings.xml\" ContentType=\"{kind}.sharedStrings+xml\"/>"
        );
        for number in 1..=self.sheets.len() {
            push(
                &mut xml,
                format_args!(
                    "<Override PartName=\"/xl/worksheets/sheet{number}.xml\" ContentType=\"{kind}.worksheet+xml\"/>"
                ),
            );
        }
        xml + "</Types>"
    }

    fn relations(&self) -> String {
        let mut xml =
            "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">".to_owned();
        for number in 1..=self.sheets.len() {
            push(
                &mut xml,
                format_args!(
                    "<Relationship Id=\"r{number}\" Type=\"{RELATIONS}/worksheet\" Target=\"worksheets/sheet{number}.xml\"/>"
                ),
            );
        }
        for part in ["styles", "sharedStrings"] {
            push(
                &mut xml,
                format_args!("<Relationship Id=\"{part}\" Type=\"{RELATIONS}/{part}\" Target=\"{part}.xml\"/>"),
            );
        }
        xml + "</Relationships>"
    }

    fn workbook(&self) -> String {
        let mut xml = format!("<workbook xmlns=\"{MAIN}\" xmlns:r=\"{RELATIONS}\">");
        if self.from_1904 {
            xml += "<workbookPr date1904=\"1\"/>";
        }
        xml += "<sheets>";
        for (number, sheet) in (1..).zip(&self.sheets) {
            let state = if sheet.hidden { " state=\"hidden\"" } else { "" };
            push(
                &mut xml,
                format_args!(
                    "<sheet name=\"{}\" sheetId=\"{number}\"{state} r:id=\"r{number}\"/>",
                    escaped(&sheet.name)
                ),
            );
        }
        xml += "</sheets>";
        if !self.names.is_empty() {
            xml += "<definedNames>";
            for (name, range) in &self.names {
                push(&mut xml, format_args!("<definedName name=\"{name}\">{}</definedName>", escaped(range)));
            }
            xml += "</definedNames>";
        }
        if !self.calculation.is_empty() {
            push(&mut xml, format_args!("<calcPr {}/>", self.calculation));
        }
        xml + "</workbook>"
    }

    fn sheet(&self, sheet: &Sheet, strings: &mut Strings) -> String {
        let mut xml = format!("<worksheet xmlns=\"{MAIN}\"><sheetData>");
        for (number, line) in (1..).zip(&sheet.lines) {
            if line.cells.is_empty() {
                continue;
            }
            let hidden = if line.hidden { " hidden=\"1\"" } else { "" };
            push(&mut xml, format_args!("<row r=\"{number}\"{hidden}>"));
            for (column, cell) in (0..).zip(&line.cells) {
                self.cell(&mut xml, &format!("{}{number}", letters(column)), cell, strings);
            }
            xml += "</row>";
        }
        xml += "</sheetData>";
        if !sheet.merged.is_empty() {
            push(&mut xml, format_args!("<mergeCells count=\"{}\">", sheet.merged.len()));
            for range in &sheet.merged {
                push(&mut xml, format_args!("<mergeCell ref=\"{range}\"/>"));
            }
            xml += "</mergeCells>";
        }
        xml + "</worksheet>"
    }

    fn cell(&self, xml: &mut String, at: &str, cell: &Cell, strings: &mut Strings) {
        match cell {
            Cell::Blank => {}
            Cell::Text(text) => {
                push(xml, format_args!("<c r=\"{at}\" t=\"s\"><v>{}</v></c>", strings.number(text)));
            }
            Cell::Number(number) => push(xml, format_args!("<c r=\"{at}\"><v>{number}</v></c>")),
            Cell::Date(date) => {
                push(xml, format_args!("<c r=\"{at}\" s=\"1\"><v>{}</v></c>", serial(*date, self.from_1904)));
            }
            Cell::Percent(number) => push(xml, format_args!("<c r=\"{at}\" s=\"2\"><v>{number}</v></c>")),
            Cell::Error(error) => push(xml, format_args!("<c r=\"{at}\" t=\"e\"><v>{error}</v></c>")),
            Cell::Formula(formula, cached) => {
                push(xml, format_args!("<c r=\"{at}\"><f>{}</f>", escaped(formula)));
                if let Some(cached) = cached {
                    push(xml, format_args!("<v>{cached}</v>"));
                }
                *xml += "</c>";
            }
        }
    }
}

/// Texts, each kept once.
#[derive(Debug, Default)]
struct Strings {
    texts: Vec<String>,
}

impl Strings {
    fn number(&mut self, text: &str) -> usize {
        self.texts.iter().position(|known| known == text).unwrap_or_else(|| {
            self.texts.push(text.to_owned());
            self.texts.len() - 1
        })
    }

    fn xml(&self) -> String {
        let mut xml = format!("<sst xmlns=\"{MAIN}\" uniqueCount=\"{}\">", self.texts.len());
        for text in &self.texts {
            push(&mut xml, format_args!("<si><t xml:space=\"preserve\">{}</t></si>", escaped(text)));
        }
        xml + "</sst>"
    }
}

/// Style 0 is plain, 1 a date, 2 a percentage.
fn styles() -> String {
    let formats: String =
        [0, 14, 10].iter().fold(String::new(), |xml, id| xml + &format!("<xf numFmtId=\"{id}\" xfId=\"0\"/>"));
    format!(
        "<styleSheet xmlns=\"{MAIN}\"><fonts count=\"1\"><font/></fonts><fills count=\"1\"><fill/></fills>\
         <borders count=\"1\"><border/></borders><cellStyleXfs count=\"1\"><xf/></cellStyleXfs>\
         <cellXfs count=\"3\">{formats}</cellXfs></styleSheet>"
    )
}

/// The number a spreadsheet keeps for a date after February 1900.
fn serial(date: NaiveDate, from_1904: bool) -> i32 {
    let zero = if from_1904 { NaiveDate::from_ymd_opt(1904, 1, 1) } else { NaiveDate::from_ymd_opt(1899, 12, 30) };
    date.num_days_from_ce() - zero.map_or(0, |zero| zero.num_days_from_ce())
}

/// A column's letters, from 0 for `A`.
pub(super) fn letters(column: u32) -> String {
    let last = char::from(b'A' + (column % 26) as u8);
    if column < 26 { last.to_string() } else { format!("{}{last}", letters(column / 26 - 1)) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(xml: &mut String, text: std::fmt::Arguments<'_>) {
    xml.write_fmt(text).expect("a string takes every text");
}
