"""The words that requests outside every skill are made of."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "form": tuple(
        "riddle memo manifesto proverb obituary prayer lullaby screenplay postcard chant epic "
        "interview monologue diary_entry fable myth legend parable news_report email "
        "short_story "
        "poem story song joke letter essay speech tweet limerick sonnet blog review summary novel "
        "fairy-tale rap ballad script toast dialogue slogan".split()
    ),
    "topic": tuple(
        "ballet archery wrestling sailing diving surf_culture folk_music hip_hop techno "
        "the_violin choirs weaving embroidery origami woodworking carpentry blacksmithing "
        "welding plumbing architecture skyscrapers bridges tunnels canals lighthouses railways "
        "subways airports tourism hotels restaurants veganism vegetarian_food spices olive_oil "
        "honey mushrooms bread_baking fermentation whisky tea_ceremonies tattoos jewellery "
        "perfume shoes hats umbrellas clocks calendars maps compasses the_alphabet dictionaries "
        "libraries museums archaeology fossils mummies pyramids the_vikings samurai "
        "the_renaissance the_french_revolution colonialism the_united_nations trade_unions "
        "minimum_wage pensions rent real_estate lotteries gambling charity volunteering "
        "parenting adoption puberty old_age funerals grief trust honesty patience courage envy "
        "gossip humour sarcasm politeness etiquette superstition horoscopes tarot hypnosis "
        "dreams_and_nightmares intuition intelligence creativity genius handwriting spelling "
        "translation slang "
        "astronomy biology chemistry trigonometry statistics logic ethics law_school memory "
        "emotions anger fear luck fate time_travel aliens ghosts magic pirates knights "
        "castles the_middle_ages ancient_Rome ancient_Egypt the_cold_war "
        "the_second_world_war slavery feminism human_rights immigration globalisation "
        "capitalism communism banking insurance mortgages savings retirement fashion_design "
        "make-up hair skin_care diets vitamins protein sugar salt allergies viruses bacteria "
        "cells genes cloning atoms electrons light sound magnetism lasers satellites rockets "
        "comets galaxies the_big_bang tides glaciers deserts forests rainforests coral_reefs "
        "bees_and_honey spiders snakes parrots penguins owls cheese_making baking barbecue "
        "street_food karate boxing skiing surfing cycling hiking climbing knitting sewing "
        "pottery photography drawing chess_openings card_games board_games comics anime "
        "cartoons podcasts television radio newspapers advertising electric_cars "
        "self-driving_cars drones 3d_printing virtual_reality quantum_computers open_source "
        "passwords hackers privacy "
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
        "handball surfing geometry silk pearls darts lakes jungles cocoa anarchy autocracy "
        "sculpture folk_music "
        "winter_sports badminton theatre physics geology cotton diamonds snooker cricket "
        "islands deserts tea oranges liberalism monarchy "
        "hate spring summer tennis science chemistry biology poker golf silver gold rugby java "
        "tradition progress cities villages winter autumn rice bread socialism capitalism".split()
    ),
    "person": tuple(
        "stepfather godmother grandson housemate tutor dentist pet_rabbit twin_brother penpal "
        "trainer mother-in-law "
        "grandfather nephew niece landlord roommate baby classmate coach client "
        "boss mother father sister brother friend wife husband teacher neighbour dog cat daughter "
        "son uncle aunt colleague doctor girlfriend boyfriend grandmother cousin team".split()
    ),
    "thing": tuple(
        "wardrobe bookshelf carpet curtain candle kettle blender microwave freezer stove "
        "lawn_mower ladder wheelbarrow tractor_engine crane lift escalator traffic_light "
        "thermometer barometer compass calculator projector loudspeaker microphone headset "
        "wallet backpack zip button parachute "
        "chair table sofa mirror bicycle motorbike scooter tractor helicopter submarine "
        "microscope keyboard mouse tablet charger washing_machine dishwasher vacuum_cleaner "
        "heater fan pump roof fence garden pool pond statue castle church violin trumpet "
        "drum watch ring coat umbrella suitcase "
        "car phone computer bike fridge toaster engine telescope radio clock camera printer piano "
        "guitar door window lamp rocket boat train plane house tent knife battery magnet laser "
        "robot drone laptop router television oven washing machine tree river mountain cloud "
        "volcano horse bird spider snake hammer bridge tunnel tower".split()
    ),
    "quality": tuple(
        "pink orange curious grumpy gentle cruel honest careful careless thirsty dizzy elegant "
        "clumsy bitter sweet sour salty "
        "green yellow lazy smart clever stupid kind jealous confused worried proud calm "
        "serious simple modern heavy light soft hungry tall short "
        "blue red sad happy angry tired lonely funny formal polite cold warm loud quiet big small "
        "fast slow old new strange beautiful ugly rich poor brave shy sick bored nervous".split()
    ),
    "food": tuple(
        "waffles croissants gnocchi ravioli couscous quinoa oatmeal fried_rice meatballs "
        "sausages crab lobster duck goose cauliflower cabbage beetroot avocado "
        "spaghetti risotto omelette burgers fries sandwiches porridge pancake_batter muffins "
        "pie ice_cream yoghurt salmon tuna shrimp pork lamb turkey lentils chickpeas "
        "broccoli carrots tomatoes pumpkin hummus paella ramen dumplings "
        "pasta pizza soup bread cake rice curry salad chicken beef fish tofu pancakes cookies "
        "lasagna sushi tacos stew eggs potatoes mushrooms cheese apples bananas noodles".split()
    ),
    "food2": tuple(
        "lime vinegar soy_sauce mustard peanuts raisins mint "
        "tomatoes basil pepper olive_oil bacon walnuts cinnamon coconut_milk chili parsley "
        "garlic onions cream beans spinach lemon ginger honey butter ham".split()
    ),
    "event": tuple(
        "eclipse blackout referendum census coronation hurricane wildfire picnic reunion auction "
        "premiere "
        "carnival parade tournament wedding_party funeral exam crash flood drought "
        "peace_treaty final graduation job_interview marathon "
        "world_cup election war revolution olympics wedding party birthday trip holiday match race "
        "concert festival strike storm earthquake conference meeting game".split()
    ),
    "role": tuple(
        "butcher fireman postman gardener tailor cleaner translator architect pharmacist banker "
        "economist sheriff duke emperor pope "
        "doctor farmer plumber electrician carpenter baker waiter journalist actor singer "
        "painter soldier judge dentist vet librarian programmer scientist astronaut coach "
        "referee senator prince princess knight "
        "president king queen mayor minister nurse teacher pilot chef lawyer engineer designer "
        "manager pirate wizard detective captain poet captain professor champion".split()
    ),
    "place": tuple(
        "Zurich Stockholm Copenhagen Helsinki Brussels Amsterdam Naples Seville Manila Jakarta "
        "Hanoi Kyoto Delhi Karachi Tehran Baghdad Tunis Havana Bogota Quito Denver Seattle Miami "
        "Denmark Finland "
        "Lisbon Warsaw Prague Budapest Seoul Bangkok Singapore Dubai Nairobi Lagos Lima "
        "Montreal Vancouver Melbourne Barcelona Milan Munich Hamburg Geneva Edinburgh Wales "
        "Sicily Hawaii Alaska Bali Mexico Peru Egypt Germany Italy Portugal Sweden Norway "
        "Poland Greece Turkey China Vietnam Argentina Chile Australia Antarctica "
        "London Paris Tokyo Berlin Madrid Rome Cairo Sydney Toronto Mumbai Beijing Moscow Istanbul "
        "Athens Vienna Dublin Oslo France Spain Japan Brazil Canada India Kenya Texas California "
        "Florida Scotland Europe Africa Asia town Boston Chicago".split()
    ),
    "work": tuple(
        "the Little Prince|King Lear|the Nutcracker|Pulp Fiction|Anna Karenina|Treasure Island|"
        "the Jungle Book|Peter Pan|Carmen|the Sunflowers|Ulysses|Forrest Gump|the Lion King|"
        "the Mona Lisa|Romeo and Juliet|the Great Gatsby|the Hobbit|the Godfather|Casablanca|"
        "the Matrix|Jane Eyre|Animal Farm|Alice in Wonderland|Les Miserables|the Iliad|"
        "Swan Lake|the Magic Flute|Jaws|Inception|Robinson Crusoe|Sherlock Holmes|"
        "Gone with the Wind|"
        "Hamlet|War and Peace|the Bible|Moby Dick|the Odyssey|Harry Potter|Don Quixote|1984|the "
        "news|Macbeth|the film Titanic|Star Wars|the Lord of the Rings|this book|Pride and "
        "Prejudice|Faust|Dracula|Frankenstein|Emma".split("|")
    ),
    "work_kind": tuple(
        "opera magazine cartoon board_game play ballet "
        "play poem novel comic recipe_book band painting musical documentary "
        "book film song game podcast series album course museum".split()
    ),
    "language": tuple(
        "Smalltalk|Tcl|Racket|VHDL|Verilog|ABAP|Apex|Logo|BASIC|Simula|"
        "Erlang|Clojure|Objective-C|Visual Basic|Pascal|Prolog|Lisp|MATLAB|PowerShell|Delphi|"
        "Groovy|"
        "Java|Rust|Go|C++|JavaScript|Haskell|Ruby|Kotlin|Swift|PHP|C|Perl|assembly|TypeScript|Bash|"
        "Scala|Lua|Fortran|COBOL|R".split("|")
    ),
    "language2": tuple(
        "Raku|Vala|Hack|D|Awk|"
        "F#|Nim|Crystal|Ada|Scheme|Solidity|WebAssembly|"
        "Rust|Go|C#|OCaml|Julia|Elixir|Dart|Zig".split("|")
    ),
    "structure": tuple(
        "bloom filter|skip list|red-black tree|todo list app|weather app|chess engine|"
        "spell checker|scheduler|message queue|shopping cart|contact form|file server|"
        "priority queue|ring buffer|trie|chat app|mobile app|calculator app|web server|"
        "compiler|cache|load balancer|login form|menu|search engine|neural network|"
        "database schema|state machine|timer|"
        "tree|linked list|queue|stack|graph|hash map|binary tree|heap|website|server|game|matrix|"
        "parser|thread pool|button|login page|web page|class".split("|")
    ),
    "theorem": tuple(
        "every map needs four colours|the number e is irrational|one over x|x cubed|"
        "the primes thin out|the sum of the first n odd numbers is a square|"
        "every even number is a sum of two primes|the harmonic series diverges|tan x|"
        "the cube root of x|there is no largest number|x to the n|"
        "every bounded sequence has a limit|zero factorial is one|"
        "there are infinitely many primes|the square root of two is irrational|x squared|sin x|"
        "e to the x|every group of order p is cyclic|pi is irrational|p equals np|cos x times x|"
        "log x|angles in a triangle add up to a half turn".split("|")
    ),
    "illness": tuple(
        "a nosebleed|a stomach ache|tonsillitis|eczema|gout|vertigo|anaemia|a concussion|"
        "a bee sting|an infected tooth|"
        "a sore throat|a toothache|food poisoning|high blood pressure|depression|a burn|"
        "hay fever|a cramp|migraine|pneumonia|arthritis|an ear infection|hiccups|a sunburn|"
        "a sprained ankle|"
        "a cold|the flu|a headache|back pain|fever|diabetes|asthma|a cough|anxiety|insomnia|a rash|"
        "a broken leg|cancer|covid|stress".split("|")
    ),
    "name": tuple(
        "Archimedes|Hippocrates|Charlemagne|Genghis Khan|Rembrandt|Monet|Vivaldi|Verdi|Dickens|"
        "Mark Twain|Agatha Christie|Charlie Chaplin|Marilyn Monroe|Maradona|Roger Federer|"
        "Copernicus|Louis Pasteur|Florence Nightingale|"
        "Galileo|Confucius|Socrates|Queen Victoria|Churchill|Mandela|Martin Luther King|"
        "Van Gogh|Frida Kahlo|Michelangelo|Chopin|Madonna|Michael Jackson|Pele|"
        "Serena Williams|Bill Gates|Steve Jobs|Elon Musk|Kepler|Stephen Hawking|Freud|Kant|"
        "Tolstoy|Jane Austen|Hemingway|Columbus|Marco Polo|Neil Armstrong|Joan of Arc|"
        "Alexander the Great|"
        "Einstein|Napoleon|Shakespeare|Mozart|Cleopatra|Newton|Darwin|Gandhi|Plato|Picasso|"
        "Marie Curie|Bach|Julius Caesar|Lincoln|Elvis|Messi|my neighbour|Ada Lovelace|Turing|"
        "Beethoven|Aristotle|Da Vinci|Tesla|Obama|Taylor Swift".split("|")
    ),
    "company": tuple(
        (
            "Intel|Siemens|Nintendo|Adidas|my insurance|my landlord's firm|"
            "Google|Apple|Microsoft|Amazon|Netflix|Tesla Motors|Ikea|Nike|Toyota|Samsung|Spotify|"
            "Coca-Cola|Lego|Sony|Uber|my bank|my phone company|the post office"
        ).split("|")
    ),
    "sport": tuple(
        (
            "water polo|fencing|ice skating|snowboarding|softball|darts|"
            "football|basketball|tennis|golf|rugby|cricket|hockey|volleyball|baseball|swimming|"
            "boxing|judo|badminton|table tennis|handball|cycling|rowing|skiing|chess"
        ).split("|")
    ),
    "speech": tuple(
        (
            "Norwegian|Czech|Hungarian|Vietnamese|Persian|Swahili|"
            "Japanese|Chinese|Korean|Arabic|Russian|Polish|Turkish|Dutch|Swedish|Greek|Hindi|"
            "Hebrew|Portuguese|Latin|Finnish|Danish|Ukrainian|Thai"
        ).split("|")
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
    "pouvez-vous me recommander un bon restaurant ?",
    "comment réparer mon vélo ?",
    "écris un poème sur la mer",
    "was soll ich heute kochen?",
    "schreib mir ein Gedicht über den Herbst",
    "wer hat das Spiel gewonnen?",
    "¿quién ganó el partido ayer?",
    "escribe un poema sobre el mar",
    "¿cómo puedo dormir mejor?",
    "scrivimi una poesia sull'autunno",
    "cosa posso cucinare stasera?",
    "quem ganhou o jogo ontem?",
    "wat is het weer morgen?",
    "napisz wiersz o jesieni",
    "bugün hava nasıl?",
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
