"""Names for the demonstration's people and rooms. Data only."""

from __future__ import annotations

FIRST_NAMES = (
    *("Amelie", "Jonas", "Mei", "Arjun", "Sofia", "Liam", "Nadia", "Tobias", "Wei", "Priya", "Lena", "Marcus", "Aisha", "Felix", "Grace"),
    *(
        "Hassan",
        "Ingrid",
        "Diego",
        "Yuki",
        "Oluwaseun",
        "Katrin",
        "Samuel",
        "Farah",
        "Emil",
        "Rosa",
        "Kai",
        "Miriam",
        "Andre",
        "Siti",
        "Paul",
    ),
)
LAST_NAMES = (
    *("Brandt", "Okafor", "Tan", "Rivera", "Schneider", "Lim", "Novak", "Walker", "Kumar", "Fischer", "Haddad", "Chen", "Morales", "Weber"),
    *("Rahman", "Keller", "Nguyen", "Bauer", "Silva", "Ong", "Reed", "Vogel", "Ibrahim", "Larsen", "Goh", "Adler", "Price", "Yamada"),
)

# site id -> (name, address, time zone)
SITES = {
    "berlin": ("Berlin", "Invalidenstrasse 44, 10115 Berlin", "Europe/Berlin"),
    "new-york": ("New York", "55 Water Street, New York, NY 10041", "America/New_York"),
    "singapore": ("Singapore", "1 Fusionopolis Way, Singapore 138632", "Asia/Singapore"),
}

# area id suffix -> (name, the names of its doors, most important first)
AREAS = {
    "lobby": ("Lobby", ("Main entrance", "Side entrance", "Turnstile", "Lift lobby")),
    "offices": ("Offices", ("Office north", "Office south", "Meeting room", "Open space", "Kitchen")),
    "lab": ("Laboratory", ("Laboratory", "Clean room", "Sample store")),
    "server": ("Server rooms", ("Server room", "Network room")),
    "logistics": ("Logistics", ("Loading dock", "Storage", "Car park")),
}

HOLIDAYS = {
    "berlin": ("2026-12-25", "2026-12-26", "2027-01-01", "2027-03-26", "2027-03-29", "2027-05-01", "2027-10-03", "2027-12-25"),
    "new-york": ("2026-11-26", "2026-12-25", "2027-01-01", "2027-01-18", "2027-05-31", "2027-07-05", "2027-09-06", "2027-11-25"),
    "singapore": ("2026-12-25", "2027-01-01", "2027-02-06", "2027-02-08", "2027-03-26", "2027-05-01", "2027-08-09", "2027-12-25"),
}
