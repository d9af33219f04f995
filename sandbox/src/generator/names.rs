//! Names of people who do not exist.

use super::random::Stream;

const FIRST: [&str; 72] = [
    "José",
    "Renée",
    "Zoë",
    "Siobhán",
    "François",
    "Søren",
    "Chloë",
    "Tomás",
    "Inés",
    "Jürgen",
    "Marisol",
    "Andre",
    "Keisha",
    "Liam",
    "Priya",
    "Mei",
    "Omar",
    "Dana",
    "Grace",
    "Hector",
    "Ivy",
    "Jamal",
    "Karen",
    "Luis",
    "Maya",
    "Noah",
    "Olivia",
    "Pedro",
    "Quinn",
    "Rosa",
    "Samuel",
    "Tara",
    "Umar",
    "Vera",
    "Wesley",
    "Ximena",
    "Yusuf",
    "Zara",
    "Aaron",
    "Bianca",
    "Carlos",
    "Denise",
    "Elena",
    "Felix",
    "Gloria",
    "Hugo",
    "Irene",
    "Jack",
    "Kofi",
    "Lena",
    "Malik",
    "Nadia",
    "Oscar",
    "Paula",
    "Ramón",
    "Sofía",
    "Trent",
    "Ursula",
    "Victor",
    "Wendy",
    "Adèle",
    "Björn",
    "Thi",
    "Anneliese",
    "Mary-Kate",
    "Jean-Luc",
    "Amara",
    "Deshawn",
    "Eoin",
    "Fatima",
    "Graham",
    "Hannah",
];

const LAST: [&str; 64] = [
    "O'Brien",
    "D'Angelo",
    "Núñez",
    "García",
    "Peña",
    "Müller",
    "O'Neill",
    "Lefèvre",
    "Åkesson",
    "St. James",
    "van der Berg",
    "de la Cruz",
    "Nguyen",
    "Patel",
    "Kim",
    "Okafor",
    "Smith",
    "Johnson",
    "Rivera",
    "Chen",
    "Martinez",
    "Walker",
    "Brooks",
    "Castillo",
    "Dubois",
    "Ellis",
    "Foster",
    "Grant",
    "Hughes",
    "Ibrahim",
    "Jensen",
    "Kowalski",
    "Lopez",
    "Morgan",
    "Novak",
    "Ortiz",
    "Price",
    "Quintero",
    "Reyes",
    "Sato",
    "Torres",
    "Underwood",
    "Vargas",
    "Washington",
    "Xiong",
    "Young",
    "Ziegler",
    "Abbott",
    "Bauer",
    "Cohen",
    "Diaz",
    "Evans",
    "Fischer",
    "Gomez",
    "Haddad",
    "Ito",
    "Jackson",
    "Khan",
    "Larsson",
    "Mbeki",
    "O'Dell",
    "Petrov",
    "Smith-Jones",
    "Wójcik",
];

/// A person's first and last name.
pub(super) type Name = (&'static str, &'static str);

/// Draws names, none of them twice.
pub(super) fn draw(stream: &mut Stream, count: usize) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::with_capacity(count);
    let all = FIRST.len() * LAST.len();
    while names.len() < count.min(all) {
        let name = (*stream.pick(&FIRST), *stream.pick(&LAST));
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Writes a name with the letters an address may have.
pub(super) fn plain(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .filter_map(|letter| match letter {
            'a'..='z' | '-' => Some(letter),
            'á' | 'à' | 'å' | 'ä' => Some('a'),
            'é' | 'è' | 'ë' => Some('e'),
            'í' => Some('i'),
            'ó' | 'ö' | 'ø' => Some('o'),
            'ú' | 'ü' => Some('u'),
            'ñ' => Some('n'),
            'ç' => Some('c'),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_a_name_has_a_plain_one() {
        for name in FIRST.iter().chain(&LAST) {
            let letters = name.chars().filter(|c| c.is_alphabetic() || *c == '-').count();
            assert_eq!(plain(name).len(), letters, "{name}");
        }
    }

    #[test]
    fn names_drawn_are_distinct() {
        let mut names = draw(&mut Stream::new(7, &["names"]), 200);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 200);
    }
}
