-- Conversions between texts, addresses and dates, as DuckDB macros.
-- `list_transform([x], lambda v: ...)[1]` names an expression once, however often it is used.

-- A finite number; infinities and NaN are null.
CREATE MACRO finite(x) AS
    list_filter([x], lambda v: isfinite(v))[1];

-- A double rounded half up (7.5 -> 8, -2.5 -> -2), still a double. Doubling is exact, so the half is found exactly.
CREATE MACRO half_up(x) AS
    ceil(floor(x * 2) / 2);

-- a.b.c.d as 32 bits; null if it is not an IPv4 address.
CREATE MACRO ipv4_bits(t) AS
    CASE WHEN regexp_full_match(t, '\d{1,3}(\.\d{1,3}){3}')
        THEN list_reduce(
            list_transform(string_split(t, '.'), lambda octet: CAST(TRY_CAST(octet AS UTINYINT) AS BIGINT)),
            lambda high, low: high * 256 + low)
    END;

CREATE MACRO hextets(t) AS
    CASE WHEN t = '' THEN [] :: UHUGEINT[]
        ELSE list_transform(string_split(t, ':'), lambda h: CAST(TRY_CAST('0x' || h AS INTEGER) AS UHUGEINT))
    END;

-- The hextets before and after `::` (or all eight) as 128 bits.
CREATE MACRO ipv6_number(before, after, shortened) AS
    CASE WHEN len(before) + len(after) <= 7 AND shortened OR len(before) + len(after) = 8 AND NOT shortened
        THEN list_reduce(
            list_concat(
                before,
                list_transform(range(8 - len(before) - len(after)), lambda i: CAST(0 AS UHUGEINT)),
                after),
            lambda high, low: high * 65536 :: UHUGEINT + low)
    END;

-- 1:2::3.4.5.6 as 1:2::304:506.
CREATE MACRO only_hextets(t) AS
    CASE WHEN contains(t, '.')
        THEN regexp_extract(t, '^(.*:)[0-9.]+$', 1) || list_transform(
            [ipv4_bits(regexp_extract(t, '[0-9.]+$'))],
            lambda bits: printf('%x:%x', bits >> 16, bits & 65535))[1]
        ELSE t
    END;

CREATE MACRO ipv6_from_text(t) AS
    list_transform([only_hextets(t)], lambda u:
        CASE WHEN regexp_full_match(u, '([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*)?(::)?([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*)?')
            THEN ipv6_number(
                hextets(string_split(u, '::')[1]),
                hextets(coalesce(string_split(u, '::')[2], '')),
                contains(u, '::'))
        END)[1];

-- An address as its 16 bytes in a number, IPv4 as ::ffff:a.b.c.d; null if the text is no address.
CREATE MACRO ip_from_text(t) AS
    CASE WHEN contains(t, ':') THEN ipv6_from_text(t)
        ELSE 281470681743360 :: UHUGEINT + CAST(ipv4_bits(t) AS UHUGEINT)
    END;

-- The longest run of zeros becomes `::`, the first one of several; a single zero stays.
CREATE MACRO ipv6_shortened(t) AS
    list_transform(
        [list_filter(range(8, 1, -1), lambda n: regexp_matches(t, '(^|:)0(:0){' || (n - 1) || '}(:|$)'))[1]],
        lambda n: CASE WHEN n IS NULL THEN t
            ELSE regexp_replace(t, '(^|:)0(:0){' || (n - 1) || '}(:|$)', '::')
        END)[1];

CREATE MACRO ip_to_text(x) AS
    list_transform([x], lambda v:
        CASE WHEN v BETWEEN 281470681743360 :: UHUGEINT AND 281474976710655 :: UHUGEINT
            THEN array_to_string(
                list_transform([24, 16, 8, 0], lambda shift: (CAST(v - 281470681743360 :: UHUGEINT AS BIGINT) >> shift) & 255),
                '.')
            WHEN v IS NOT NULL
            THEN ipv6_shortened(array_to_string(
                list_transform(range(7, -1, -1), lambda i: printf('%x', CAST((v >> CAST(16 * i AS UHUGEINT)) & 65535 :: UHUGEINT AS INTEGER))),
                ':'))
        END)[1];

-- Times without a zone are UTC; digits alone are epoch milliseconds. Times beyond DuckDB's are null.
CREATE MACRO date_from_text(t) AS
    TRY(date_trunc('millisecond', CASE
        WHEN regexp_full_match(t, '-?\d{5,}') THEN list_transform([TRY_CAST(t AS BIGINT)], lambda ms:
            CASE WHEN ms BETWEEN -9223372022400000 AND 9223372036854775 THEN make_timestamp_ms(ms) END)[1]
        ELSE CAST(TRY_CAST(t AS TIMESTAMPTZ) AS TIMESTAMP)
    END));

CREATE MACRO date_to_text(x) AS
    strftime(x, '%Y-%m-%dT%H:%M:%S.%gZ');

CREATE MACRO boolean_from_text(t) AS
    CASE lower(t) WHEN 'true' THEN true WHEN 'false' THEN false END;

-- Digits and a power of ten as Java writes them: 1.5E10, 1.2E-4.
CREATE MACRO scientific(digits, power) AS
    left(digits, 1) || '.' || coalesce(nullif(rtrim(substring(digits, 2), '0'), ''), '0') || 'E' || power;

-- A double as Java writes it: 1.0, 0.001, 1.0E7. DuckDB's text has the same digits, but other exponents.
CREATE MACRO double_to_text(x) AS
    list_transform([x], lambda v:
        CASE WHEN v = 0 OR abs(v) >= 0.001 AND abs(v) < 10000000 THEN CAST(v AS VARCHAR)
            ELSE CASE WHEN v < 0 THEN '-' ELSE '' END || list_transform([CAST(abs(v) AS VARCHAR)], lambda t:
                CASE WHEN contains(t, 'e')
                    THEN scientific(replace(split_part(t, 'e', 1), '.', ''), CAST(split_part(t, 'e', 2) AS INTEGER))
                    ELSE scientific(
                        ltrim(replace(t, '.', ''), '0'),
                        CASE WHEN abs(v) < 1 THEN -1 - length(regexp_extract(t, '^0\.(0*)', 1)) ELSE strpos(t, '.') - 2 END)
                END)[1]
        END)[1];

-- Whole numbers in documents: "443" and 443.7 are 443, as Elasticsearch coerces them.
CREATE MACRO long_from_document(t) AS
    CASE WHEN regexp_full_match(t, '[+-]?\d+') THEN TRY_CAST(t AS BIGINT)
        ELSE TRY_CAST(trunc(TRY_CAST(t AS DOUBLE)) AS BIGINT)
    END;

-- Whole numbers by TO_LONG: rounded half up.
CREATE MACRO long_from_text(t) AS
    CASE WHEN regexp_full_match(t, '[+-]?\d+') THEN TRY_CAST(t AS BIGINT)
        ELSE TRY_CAST(half_up(TRY_CAST(t AS DOUBLE)) AS BIGINT)
    END;

-- The values of a list, or null: no value is null, never an empty list.
CREATE MACRO filled(l) AS
    list_filter([l], lambda v: len(v) > 0)[1];

-- The value of a list that has just one; null if it has several.
CREATE MACRO only_value(l) AS
    list_filter([l], lambda v: len(v) = 1)[1][1];

-- A single value as a list; null stays null.
CREATE MACRO listed(x) AS
    filled(list_filter([x], lambda v: v IS NOT NULL));

-- The place where SUBSTRING starts: from 1, negative from the end, 0 as 1.
CREATE MACRO substring_start(s, start) AS
    list_transform([start], lambda n:
        CASE WHEN n < 0 THEN greatest(length(s) + n + 1, 1) ELSE greatest(n, 1) END)[1];

-- Milliseconds cut down to a multiple, also before 1970.
CREATE MACRO floored(ms, step) AS
    list_transform([ms], lambda m: m - ((m % step) + step) % step)[1];

-- A JSON value of a document as text; an object or an array is not a value.
CREATE MACRO document_text(j) AS
    CASE WHEN NOT starts_with(j, '{') AND NOT starts_with(j, '[') THEN j ->> '$' END;

-- What kinds of values a JSON value holds: a bit for the place of a kind in a list of names.
CREATE MACRO document_kinds(j, names) AS
    list_bit_or(list_transform(
        CASE WHEN starts_with(j, '[') THEN json_type(j, '$[*]') ELSE [json_type(j)] END,
        lambda kind: 1 << (list_position(names, kind) - 1)));

-- The depth of objects and arrays in a JSON text: the brackets outside of its texts, added up.
CREATE MACRO nesting(j) AS
    list_reduce(
        list_transform(
            regexp_extract_all(
                regexp_replace(regexp_replace(j, '"(?:[^"\\]|\\.)*"', '', 'g'), '[^\[\]{}]+', '', 'g'),
                '[\[{]+|[\]}]+'),
            lambda run: list_transform(
                [CASE WHEN run[1] IN ('[', '{') THEN length(run) ELSE -length(run) END],
                lambda change: {'level': change, 'deepest': change})[1]),
        lambda before, run: {
            'level': before.level + run.level,
            'deepest': greatest(before.deepest, before.level + run.level)
        }).deepest;

-- Whether a JSON text has at most some levels of objects and arrays; few brackets are few levels.
CREATE MACRO is_shallow(j, levels) AS
    CASE WHEN strlen(j) - strlen(replace(replace(j, '{', ''), '[', '')) <= levels THEN true
        ELSE nesting(j) <= levels
    END;

CREATE MACRO array_values(j) AS
    list_filter(json_extract(j, '$[*]'), lambda e: json_type(e) <> 'NULL');

-- The values of a JSON value: those of an array without its nulls, or the value itself.
CREATE MACRO json_values(j) AS
    CASE WHEN starts_with(j, '[') THEN array_values(j) WHEN json_type(j) <> 'NULL' THEN [j] END;
