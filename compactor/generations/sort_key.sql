-- Where stored events stand in a part of a finished day: by site, country, visitor, session
-- and time. A report by country then skips the others, and columns that repeat from event
-- to event are small. It is one number: texts would take three times as long to sort, and
-- spill more. Texts whose 16- or 24-bit hashes collide are interleaved; only compression
-- suffers.
-- site, country: numbers of these texts; of a relation `e` with the stored columns
(
    (
        (coalesce({site}, 0) % 256 * 256 + coalesce({country}, 0) % 256) * 16777216
        + hash(e.visitor) % 16777216
    ) * 128 + hash(e.session) % 128
) * 131072 + epoch(e.time::TIME)::UBIGINT % 131072
