//! The mail that lets a new person in: one person, one link.

use chrono::{DateTime, Utc};
use minijinja::{Environment, UndefinedBehavior, context};
use secrecy::{ExposeSecret as _, SecretString};

use super::error::Error;
use super::mailer::{Mailer, Outcome};
use super::render::Rendered;

/// What an invitation says, and to whom.
#[derive(Debug)]
pub struct Invitation<'a> {
    /// Where it goes.
    pub address: &'a str,
    /// What the person is called; may be empty.
    pub name: &'a str,
    /// What she is invited to.
    pub site_name: &'a str,
    /// Whoever has it can set her password.
    pub link: &'a SecretString,
}

/// What became of one invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It left, or may have left.
    Sent,
    /// It certainly did not leave.
    Failed {
        /// What was said, addresses left out.
        reason: String,
    },
}

impl Invitation<'_> {
    /// Sends it at once. It is in no outbox, and no copy is kept where mail can be
    /// sent: the link is a key for two days.
    ///
    /// # Errors
    /// When mail is switched off, or the message cannot be written.
    pub async fn send(&self, mailer: &Mailer, now: DateTime<Utc>) -> Result<Delivery, Error> {
        if mailer.off() {
            return Err(Error::Off);
        }
        let mailer = mailer.to_one(self.address)?;
        let message = mailer.compose(&format!("invitation {} {now}", self.address), &self.render()?, now)?;
        if mailer.only_keeps() {
            mailer.keep(&message, now)?;
        }
        Ok(match mailer.deliver(&message.envelope, &message.eml).await {
            Outcome::Accepted { refused: 0 } | Outcome::Uncertain { .. } => Delivery::Sent,
            Outcome::Accepted { .. } => Delivery::Failed { reason: "the recipient was refused".to_owned() },
            Outcome::Failed { reason, .. } => Delivery::Failed { reason },
        })
    }

    fn render(&self) -> Result<Rendered, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // Names that end so are escaped as HTML.
        for (name, source) in [
            ("invitation.html", include_str!("templates/invitation.html")),
            ("invitation.txt", include_str!("templates/invitation.txt")),
        ] {
            environment.add_template(name, source).map_err(Error::Render)?;
        }
        let subject = format!("Your account for {}", self.site_name);
        let link = self.link.expose_secret();
        let view = context! { subject => subject.as_str(), link, name => self.name, site_name => self.site_name };
        let fill = |name: &str| environment.get_template(name)?.render(&view);
        Ok(Rendered {
            html: fill("invitation.html").map_err(Error::Render)?,
            text: fill("invitation.txt").map_err(Error::Render)?,
            subject,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_has_its_link_in_both_parts_and_shows_it_nowhere_else() {
        let link = SecretString::from("https://bi.example.com/auth/reset_password/7_ab-cd");
        let invitation = Invitation { address: "ana@example.com", name: "<Ana>", site_name: "Numbers", link: &link };
        let rendered = invitation.render().unwrap();
        assert!(rendered.html.contains("reset_password") && rendered.html.contains("&lt;Ana&gt;"), "{}", rendered.html);
        assert!(rendered.text.contains("https://bi.example.com/auth/reset_password/7_ab-cd"), "{}", rendered.text);
        assert!(!format!("{invitation:?}").contains("7_ab-cd"));
    }
}
