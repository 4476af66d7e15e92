"""The tables that SQL requests are about."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its name, its text columns and its number columns."""

    name: str
    words: tuple[str, ...]
    numbers: tuple[str, ...]


TABLES = (
    Table("users", ("name", "city", "country"), ("age", "score")),
    Table("products", ("name", "category", "brand"), ("price", "stock", "rating")),
    Table("orders", ("customer", "status", "product"), ("total", "quantity")),
    Table("employees", ("name", "department", "title"), ("salary", "age")),
    Table("books", ("title", "author", "genre"), ("pages", "year", "price")),
    Table("movies", ("title", "director", "genre"), ("year", "rating", "length")),
    Table("students", ("name", "school", "course"), ("age", "grade")),
    Table("cities", ("name", "country"), ("population", "area")),
)
VALUES = (
    "Rome Paris Berlin Madrid Oslo Lima Tokyo Cairo Dublin Vienna France Spain Italy Kenya Chile "
    "Drama Comedy History Poetry Fantasy Sales Support Legal Finance Design Open Closed Pending "
    "Shipped Paid Acme Nova Zenith Orbit Tools Toys Garden Sports Music Physics Law Art Ana Bob "
    "Clara David Emma Felix Greta Hugo Manager Engineer Analyst Clerk"
).split()
PLURALS = {"city": "cities", "country": "countries", "category": "categories", "status": "statuses"}
PLURALS |= {"pages": "pages", "salary": "salaries", "stock": "stock"}


def schema() -> str:
    """Write the tables as SQL statements that create them."""
    return "\n".join(
        f"CREATE TABLE {table.name} ("
        + ", ".join([f"{c} TEXT" for c in table.words] + [f"{c} REAL" for c in table.numbers])
        + ");"
        for table in TABLES
    )
