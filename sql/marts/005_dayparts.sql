-- The parts of a business day, in minutes from its midnight. Late Night is after midnight, and
-- still the evening's. A brand with other parts has its own rows here: `brand` is its id, in quotes.
SELECT p.daypart_order, p.daypart, p.from_minute, p.until_minute
FROM (
    VALUES
        (1, 'Morning', 480, 600),
        (2, 'Lunch', 600, 840),
        (3, 'Afternoon', 840, 1020),
        (4, 'Dinner', 1020, 1260),
        (5, 'Evening', 1260, 1440),
        (6, 'Late Night', 1440, 1920)
) AS p (daypart_order, daypart, from_minute, until_minute)
