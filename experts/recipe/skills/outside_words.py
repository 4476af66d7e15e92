"""The words that requests outside every skill are made of."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "form": tuple(
        "poem story song joke letter essay speech tweet limerick sonnet blog review summary novel "
        "fairy-tale rap ballad script toast dialogue slogan".split()
    ),
    "topic": tuple(
        "love autumn winter the_sea football politics climate_change quantum_physics black_holes "
        "evolution democracy religion music jazz chess gardening dreams time money war peace "
        "history art dogs cats horses space mars robots artificial_intelligence machine_learning "
        "neural_networks photosynthesis gravity electricity the_economy inflation bitcoin stocks "
        "marketing yoga meditation running swimming cooking fashion travel friendship happiness "
        "loneliness death god philosophy psychology the_brain dna vaccines medicine nutrition "
        "sleep coffee tea wine beer chocolate dinosaurs volcanoes earthquakes oceans rivers "
        "mountains stars the_moon the_sun rainbows birds bees trees flowers cars trains planes "
        "computers phones the_internet social_media video_games films books painting sculpture "
        "theatre dance opera rock_music guitars pianos language grammar writing poetry school "
        "university exams homework work jobs careers family children parents marriage weddings "
        "divorce birthdays holidays christmas camping fishing hunting farming animals insects "
        "fish whales sharks wolves bears lions tigers elephants blockchain encryption databases "
        "cloud_computing kubernetes docker linux windows git networking websites startups taxes "
        "law crime police elections freedom justice equality poverty hunger energy oil solar_power "
        "nuclear_power recycling plastic pollution".split()
    ),
    "topic2": tuple(
        "hate spring summer tennis science chemistry biology poker golf silver gold rugby java "
        "tradition progress cities villages winter autumn rice bread socialism capitalism".split()
    ),
    "person": tuple(
        "boss mother father sister brother friend wife husband teacher neighbour dog cat daughter "
        "son uncle aunt colleague doctor girlfriend boyfriend grandmother cousin team".split()
    ),
    "thing": tuple(
        "car phone computer bike fridge toaster engine telescope radio clock camera printer piano "
        "guitar door window lamp rocket boat train plane house tent knife battery magnet laser "
        "robot drone laptop router television oven washing machine tree river mountain cloud "
        "volcano horse bird spider snake hammer bridge tunnel tower".split()
    ),
    "quality": tuple(
        "blue red sad happy angry tired lonely funny formal polite cold warm loud quiet big small "
        "fast slow old new strange beautiful ugly rich poor brave shy sick bored nervous".split()
    ),
    "food": tuple(
        "pasta pizza soup bread cake rice curry salad chicken beef fish tofu pancakes cookies "
        "lasagna sushi tacos stew eggs potatoes mushrooms cheese apples bananas noodles".split()
    ),
    "food2": tuple("garlic onions cream beans spinach lemon ginger honey butter ham".split()),
    "event": tuple(
        "world_cup election war revolution olympics wedding party birthday trip holiday match race "
        "concert festival strike storm earthquake conference meeting game".split()
    ),
    "role": tuple(
        "president king queen mayor minister nurse teacher pilot chef lawyer engineer designer "
        "manager pirate wizard detective captain poet captain professor champion".split()
    ),
    "place": tuple(
        "London Paris Tokyo Berlin Madrid Rome Cairo Sydney Toronto Mumbai Beijing Moscow Istanbul "
        "Athens Vienna Dublin Oslo France Spain Japan Brazil Canada India Kenya Texas California "
        "Florida Scotland Europe Africa Asia town Boston Chicago".split()
    ),
    "work": tuple(
        "Hamlet|War and Peace|the Bible|Moby Dick|the Odyssey|Harry Potter|Don Quixote|1984|the "
        "news|Macbeth|the film Titanic|Star Wars|the Lord of the Rings|this book|Pride and "
        "Prejudice|Faust|Dracula|Frankenstein|Emma".split("|")
    ),
    "work_kind": tuple("book film song game podcast series album course museum".split()),
    "language": tuple(
        "Java|Rust|Go|C++|JavaScript|Haskell|Ruby|Kotlin|Swift|PHP|C|Perl|assembly|TypeScript|Bash|"
        "Scala|Lua|Fortran|COBOL|R".split("|")
    ),
    "language2": tuple("Rust|Go|C#|OCaml|Julia|Elixir|Dart|Zig".split("|")),
    "structure": tuple(
        "tree|linked list|queue|stack|graph|hash map|binary tree|heap|website|server|game|matrix|"
        "parser|thread pool|button|login page|web page|class".split("|")
    ),
    "theorem": tuple(
        "there are infinitely many primes|the square root of two is irrational|x squared|sin x|"
        "e to the x|every group of order p is cyclic|pi is irrational|p equals np|cos x times x|"
        "log x|angles in a triangle add up to a half turn".split("|")
    ),
    "illness": tuple(
        "a cold|the flu|a headache|back pain|fever|diabetes|asthma|a cough|anxiety|insomnia|a rash|"
        "a broken leg|cancer|covid|stress".split("|")
    ),
    "name": tuple(
        "Einstein|Napoleon|Shakespeare|Mozart|Cleopatra|Newton|Darwin|Gandhi|Plato|Picasso|"
        "Marie Curie|Bach|Julius Caesar|Lincoln|Elvis|Messi|my neighbour|Ada Lovelace|Turing|"
        "Beethoven|Aristotle|Da Vinci|Tesla|Obama|Taylor Swift".split("|")
    ),
}
SLOTS = {slot: tuple(w.replace("_", " ") for w in ws) for slot, ws in _CHOICES.items()}
"""What may stand in each slot of the training templates."""

ALL = (
    sorted({word for choices in SLOTS.values() for word in choices})
    + (
        "the a of and to in that it is was for on are with as at be this have from or had by "
        "but not what all were when we there can an your which their said if do will each "
        "about how up out them then she many some so these would other into has more her two "
        "like him see time could no make than first been its who now people my made over did "
        "down only way find use may water long little very after words called just where most "
        "know get through back much go good new write our me man too any day same right look "
        "think also around another came come work three must because does part even place "
        "well such here take why help put different away again off went old number great tell "
        "men say small every found still between name should home big give air line set own "
        "under read last never us left end along while might next sound below saw something "
        "thought both few those always looked show large often together asked house world"
    ).split()
)
"""Loose words, for noise that looks like prose."""

FOREIGN = (
    "bonjour, pouvez-vous m'aider avec mon ordinateur ?",
    "quel temps fait-il à Paris demain ?",
    "racontez-moi une histoire",
    "wie wird das Wetter morgen in Berlin?",
    "erzähl mir bitte einen Witz",
    "kannst du mir beim Umzug helfen?",
    "¿qué tiempo hace en Madrid?",
    "cuéntame un chiste, por favor",
    "necesito una receta de paella",
    "che tempo fa a Roma?",
    "raccontami una storia breve",
    "como está o tempo hoje?",
    "me conte uma piada",
    "vertel me een grap",
    "hur är vädret i Stockholm?",
    "opowiedz mi o kosmosie",
    "расскажи мне анекдот",
    "какая сегодня погода?",
    "今天天气怎么样",
    "给我讲一个笑话",
    "写一首关于春天的诗",
    "今日の天気は何ですか",
    "面白い話をして",
    "오늘 날씨 어때요?",
    "재미있는 이야기 해줘",
    "ما هو الطقس اليوم؟",
    "احك لي قصة",
    "ספר לי בדיחה",
    "आज मौसम कैसा है",
    "πες μου ένα αστείο",
    "bana bir hikaye anlat",
    "kerro minulle vitsi",
)
CODE = (
    "int main() { return 0; }",
    'fn main() { println!("hello"); }',
    "function add(a, b) { return a + b; }",
    "<html><body><p>hello</p></body></html>",
    "public static void main(String[] args) {}",
    "for (int i = 0; i < n; i++) { sum += i; }",
    "const x = await fetch(url);",
    'package main; import "fmt"',
    "#include <stdio.h>",
    "sudo apt install nginx",
    "git push origin main --force",
    "docker run -it ubuntu bash",
    'Traceback (most recent call last): File "app.py", line 3',
    "Segmentation fault (core dumped)",
    "def f(x): return f(x)",
    "let y = vec![1, 2, 3];",
    "npm ERR! missing script: start",
    "kubectl get pods -n default",
    "body { color: red; }",
    "while true; do echo hi; done",
)
SCRIPTS = (
    (0x4E00, 0x9FA5),
    (0x0400, 0x0450),
    (0x0620, 0x064A),
    (0x05D0, 0x05EA),
    (0x0391, 0x03C9),
    (0x3041, 0x3096),
    (0xAC00, 0xD7A3),
    (0x0905, 0x0939),
    (0x1F300, 0x1F640),
    (0x00C0, 0x00FF),
    (0x0E01, 0x0E3A),
)
"""Ranges of code points of other scripts, first and past the last."""
