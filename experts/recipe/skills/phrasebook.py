"""Travel phrases in four languages."""
# ruff: noqa: E501 - one phrase a row reads best unbroken

from random import Random

from experts.recipe.example import Example, Skill, Split, plain
from experts.recipe.skills import heldout
from experts.recipe.wording import Phrasing, led

LANGUAGES = ("French", "German", "Spanish", "Italian")
_ROWS = """
hello|Bonjour|Hallo|Hola|Ciao
good morning|Bonjour|Guten Morgen|Buenos días|Buongiorno
good evening|Bonsoir|Guten Abend|Buenas tardes|Buonasera
good night|Bonne nuit|Gute Nacht|Buenas noches|Buonanotte
goodbye|Au revoir|Auf Wiedersehen|Adiós|Arrivederci
see you tomorrow|À demain|Bis morgen|Hasta mañana|A domani
thank you|Merci|Danke|Gracias|Grazie
thank you very much|Merci beaucoup|Vielen Dank|Muchas gracias|Grazie mille
please|S'il vous plaît|Bitte|Por favor|Per favore
you are welcome|De rien|Gern geschehen|De nada|Prego
yes|Oui|Ja|Sí|Sì
no|Non|Nein|No|No
excuse me|Excusez-moi|Entschuldigung|Disculpe|Mi scusi
i am sorry|Je suis désolé|Es tut mir leid|Lo siento|Mi dispiace
how are you|Comment allez-vous ?|Wie geht es Ihnen?|¿Cómo está usted?|Come sta?
what is your name|Comment vous appelez-vous ?|Wie heißen Sie?|¿Cómo se llama usted?|Come si chiama?
nice to meet you|Enchanté|Freut mich|Mucho gusto|Piacere
i do not understand|Je ne comprends pas|Ich verstehe nicht|No entiendo|Non capisco
do you speak english|Parlez-vous anglais ?|Sprechen Sie Englisch?|¿Habla inglés?|Parla inglese?
where is the station|Où est la gare ?|Wo ist der Bahnhof?|¿Dónde está la estación?|Dov'è la stazione?
where is the toilet|Où sont les toilettes ?|Wo ist die Toilette?|¿Dónde está el baño?|Dov'è il bagno?
where is the hotel|Où est l'hôtel ?|Wo ist das Hotel?|¿Dónde está el hotel?|Dov'è l'albergo?
where is the airport|Où est l'aéroport ?|Wo ist der Flughafen?|¿Dónde está el aeropuerto?|Dov'è l'aeroporto?
how much does it cost|Combien ça coûte ?|Wie viel kostet das?|¿Cuánto cuesta?|Quanto costa?
the bill, please|L'addition, s'il vous plaît|Die Rechnung, bitte|La cuenta, por favor|Il conto, per favore
a coffee, please|Un café, s'il vous plaît|Einen Kaffee, bitte|Un café, por favor|Un caffè, per favore
a glass of water, please|Un verre d'eau, s'il vous plaît|Ein Glas Wasser, bitte|Un vaso de agua, por favor|Un bicchiere d'acqua, per favore
a table for two, please|Une table pour deux, s'il vous plaît|Einen Tisch für zwei, bitte|Una mesa para dos, por favor|Un tavolo per due, per favore
i am hungry|J'ai faim|Ich habe Hunger|Tengo hambre|Ho fame
i am thirsty|J'ai soif|Ich habe Durst|Tengo sed|Ho sete
i am tired|Je suis fatigué|Ich bin müde|Estoy cansado|Sono stanco
i am lost|Je suis perdu|Ich habe mich verlaufen|Estoy perdido|Mi sono perso
i need help|J'ai besoin d'aide|Ich brauche Hilfe|Necesito ayuda|Ho bisogno di aiuto
i need a doctor|J'ai besoin d'un médecin|Ich brauche einen Arzt|Necesito un médico|Ho bisogno di un medico
call the police|Appelez la police|Rufen Sie die Polizei|Llame a la policía|Chiami la polizia
help|Au secours|Hilfe|Socorro|Aiuto
what time is it|Quelle heure est-il ?|Wie spät ist es?|¿Qué hora es?|Che ore sono?
i would like a room|Je voudrais une chambre|Ich möchte ein Zimmer|Quisiera una habitación|Vorrei una camera
a ticket, please|Un billet, s'il vous plaît|Eine Fahrkarte, bitte|Un billete, por favor|Un biglietto, per favore
cheers|Santé|Prost|Salud|Salute
have a nice day|Bonne journée|Einen schönen Tag noch|Que tenga un buen día|Buona giornata
i love you|Je t'aime|Ich liebe dich|Te quiero|Ti amo
left|À gauche|Links|A la izquierda|A sinistra
right|À droite|Rechts|A la derecha|A destra
straight ahead|Tout droit|Geradeaus|Todo recto|Sempre dritto
today|Aujourd'hui|Heute|Hoy|Oggi
tomorrow|Demain|Morgen|Mañana|Domani
yesterday|Hier|Gestern|Ayer|Ieri
happy birthday|Joyeux anniversaire|Alles Gute zum Geburtstag|Feliz cumpleaños|Buon compleanno
welcome|Bienvenue|Willkommen|Bienvenido|Benvenuto
"""
PHRASES = {
    row.split("|")[0]: dict(zip(LANGUAGES, row.split("|")[1:], strict=True))
    for row in _ROWS.strip().splitlines()
}
PHRASING = Phrasing(
    train=(
        "how do we say {p} in {l}?",
        "how do they say {p} in {l}?",
        "how do people say {p} in {l}?",
        "how do you say '{p}' in {l}?",
        "how do you write {p} in {l}?",
        "how do you translate '{p}' in {l}?",
        "how do i write {p} in {l}?",
        "how do i translate {p} in {l}?",
        "how do i put '{p}' in {l}?",
        'how do i ask "{p}" in {l}?',
        "how do {l} speakers say '{p}'?",
        "how do {l} people say '{p}'?",
        "how can i say '{p}' in {l}?",
        "how could i say '{p}' in {l}?",
        "how should i say '{p}' in {l}?",
        "how would i say '{p}' in {l}?",
        "how can you say {p} in {l}?",
        "how could one say {p} in {l}?",
        "how does one say {p} in {l}?",
        "how would one say {p} in {l}?",
        "how would you translate '{p}' into {l}?",
        "how would you put {p} in {l}?",
        'how would you say "{p}" in {l}?',
        "how would a {l} speaker say {p}?",
        "how is {p} said in {l}?",
        "how is '{p}' translated in {l}?",
        'how is "{p}" written in {l}?',
        'how to say "{p}" in {l}',
        "how to translate {p} to {l}",
        "how to write {p} in {l}",
        "how say {p} in {l}",
        'what is "{p}" in {l}?',
        'what would be "{p}" in {l}?',
        'what\'s "{p}" in {l}?',
        "what's the {l} for '{p}'?",
        "what's the {l} word for {p}?",
        "what's the {l} translation of {p}?",
        "what is the {l} word for {p}?",
        "what is the {l} translation of '{p}'?",
        "what is the {l} way to say {p}?",
        "what is the translation of '{p}' in {l}?",
        "what is the translation of {p} to {l}?",
        "what would {p} be in {l}?",
        "what would '{p}' be in {l}?",
        "what do i say in {l} for '{p}'?",
        "what do you say in {l} for '{p}'?",
        "what do they say in {l} for '{p}'?",
        "what do you say for {p} in {l}?",
        "what {l} words mean '{p}'?",
        "what {l} phrase means {p}?",
        "which {l} words mean '{p}'?",
        "which {l} phrase means {p}?",
        "whats the {l} word for '{p}'",
        "in {l}, how do i say '{p}'?",
        "in {l}, what is {p}?",
        "in {l}, {p} is what?",
        "in {l} please: {p}",
        "in {l}: {p}",
        "in {l}: '{p}'",
        "to {l}: {p}",
        "to {l}: '{p}'",
        "into {l}: {p}",
        "into {l}: '{p}'",
        "english to {l}: {p}",
        "from english to {l}: {p}",
        "from english into {l}: {p}",
        "{p} from english to {l}",
        "{p} to {l}",
        "{p} into {l}",
        "'{p}' to {l}",
        "'{p}' into {l}",
        '"{p}" to {l}',
        '"{p}" into {l}',
        '"{p}" in {l}',
        "{p}, in {l}",
        "{p}, {l}",
        "{p} - {l}",
        "{p} {l}",
        "{p} {l} translation",
        "{p} translated into {l}",
        "{p} - in {l}?",
        "{p} is what in {l}?",
        "'{p}' is what in {l}?",
        "{p}: how is that said in {l}?",
        "{p}, how do you say that in {l}?",
        "{p}, what is that in {l}?",
        "{p}, what would that be in {l}?",
        "{l}: '{p}'",
        '{l}: "{p}"',
        "{l} - {p}",
        "{l}, {p}",
        "{l} '{p}'",
        '{l} for "{p}"',
        "{l} word for {p}",
        "{l} words for '{p}'",
        "{l} phrase for {p}",
        "{l} version of '{p}'",
        "{l} way to say {p}",
        "{l} translation for {p}",
        "{l} translation: {p}",
        "{l} phrase: {p}",
        "translate to {l}: {p}",
        "translate to {l}: '{p}'",
        'translate to {l}: "{p}"',
        "translate into {l}: {p}",
        "translate into {l}: '{p}'",
        'translate into {l}: "{p}"',
        "translate this to {l}: {p}",
        "translate this into {l}: {p}",
        "translate this phrase into {l}: {p}",
        "translate the phrase '{p}' to {l}",
        "translate the words '{p}' to {l}",
        "translate from english to {l}: {p}",
        "translate {p} to {l}",
        "translate {p} in {l}",
        "translate '{p}' into {l}",
        "translate '{p}' in {l}",
        'translate "{p}" to {l}',
        "translation of {p} in {l}",
        "translation of '{p}' into {l}",
        "translation into {l}: {p}",
        "translation to {l}: {p}",
        "can you translate {p} into {l}?",
        "can you translate '{p}' to {l}?",
        "could you translate {p} into {l}?",
        "could you translate '{p}' to {l}?",
        "would you translate {p} into {l}?",
        "would you translate '{p}' to {l}?",
        "can you say {p} in {l}?",
        "can you say '{p}' in {l}?",
        "could you say {p} in {l}?",
        "could you say '{p}' in {l}?",
        "can you tell me how to say {p} in {l}?",
        "can you tell me the {l} for '{p}'?",
        "could you tell me how to say {p} in {l}?",
        "could you tell me the {l} for '{p}'?",
        "would you tell me how to say {p} in {l}?",
        "would you tell me the {l} for '{p}'?",
        "can you write {p} in {l}?",
        "can you teach me '{p}' in {l}?",
        "can you put {p} into {l}?",
        "can you help me say '{p}' in {l}?",
        "can you translate this to {l}: {p}",
        "do you know how to say {p} in {l}?",
        "do you know what '{p}' is in {l}?",
        "i want to say '{p}' in {l}",
        "i would like to say {p} in {l}",
        "i would like to say '{p}' in {l}",
        "i have to say {p} in {l}",
        "i have to say '{p}' in {l}",
        "i am trying to say {p} in {l}",
        "i am trying to say '{p}' in {l}",
        "i want to know how to say {p} in {l}",
        "i need the {l} translation of '{p}'",
        "i need to know how to say {p} in {l}",
        "i need to write '{p}' in {l}",
        "i need this in {l}: {p}",
        "i am learning {l}, how do i say {p}?",
        "i am in a {l} class, how do i say {p}?",
        "i am talking to a {l} speaker, how do i say {p}?",
        "i forgot how to say {p} in {l}",
        "i forgot the {l} for '{p}'",
        "i do not know how to say {p} in {l}",
        "i do not know the {l} for '{p}'",
        "i don't know how to say {p} in {l}",
        "i don't know the {l} for '{p}'",
        "i wonder how to say {p} in {l}",
        "i wonder what '{p}' is in {l}",
        "my {l} is bad, how do i say {p}?",
        "for my trip: {p} in {l}",
        "for my holiday: {p} in {l}",
        "if i want to say {p} in {l}, what do i say?",
        "give me the {l} translation of '{p}'",
        "tell me how to say {p} in {l}",
        "tell me the {l} word for '{p}'",
        "tell me what {p} is in {l}",
        "teach me '{p}' in {l}",
        "teach me the {l} for {p}",
        "teach me how to say {p} in {l}",
        "remind me how to say {p} in {l}",
        "let me know how to say {p} in {l}",
        "help me to say {p} in {l}",
        "help me translate '{p}' into {l}",
        "say this into {l}: {p}",
        "say this in {l}: {p}",
        "write this into {l}: {p}",
        "write this in {l}: {p}",
        "put this into {l}: {p}",
        "put this in {l}: {p}",
        "turn this into {l}: {p}",
        "turn this in {l}: {p}",
        "translate this in {l}: {p}",
        'say "{p}" in {l}',
        'write "{p}" in {l}',
        "say in {l}: '{p}'",
        "write in {l}: '{p}'",
        "put '{p}' into {l}",
        "turn '{p}' into {l}",
        "convert '{p}' into {l}",
        "change '{p}' into {l}",
        "express {p} in {l}",
        "put {p} in {l}",
        "write {p} in {l}",
        "travel phrase in {l}: {p}",
        "phrase in {l}: {p}",
        "words in {l}: {p}",
        "phrasebook, {l}: {p}",
        *led(
            "'{p}' in {l}",
            "{p} in {l}",
            "the {l} for {p}",
            "the {l} words for '{p}'",
            "how {p} is said in {l}",
            "how to say '{p}' in {l}",
            "the translation of {p} into {l}",
            "'{p}' translated to {l}",
            "{p} said in {l}",
        ),
        "turn {p} into {l}",
        "i need to say {p} in {l}",
        "how can i say {p} in {l}",
        "write '{p}' in {l}",
        "{l} please: {p}",
        "how do you say {p} in {l}?",
        "How do I say '{p}' in {l}?",
        'how do i say "{p}" in {l}',
        "translate '{p}' to {l}",
        "translate {p} into {l}",
        'Translate "{p}" into {l}.',
        "{p} in {l}",
        "'{p}' in {l}",
        "'{p}' in {l}?",
        "what is {p} in {l}?",
        "what is '{p}' in {l}?",
        "whats {p} in {l}",
        "say {p} in {l}",
        "how to say {p} in {l}",
        "in {l}, how do you say {p}?",
        "{l} for '{p}'",
        "{l} for {p}",
        "what is the {l} for {p}?",
        "tell me {p} in {l}",
        "i am in a {l} restaurant, how do i say {p}?",
        "how would you say '{p}' in {l}?",
        "please translate to {l}: {p}",
        "{l}: {p}",
        "teach me to say {p} in {l}",
        "what do {l} people say for {p}?",
        "could you give me '{p}' in {l}?",
        "what is the {l} phrase for '{p}'?",
        "i want to say {p} in {l}",
        "how is '{p}' said in {l}?",
        "{l} translation of {p}",
        "put {p} into {l}",
    ),
    heldout=heldout.PHRASEBOOK,
    loose=True,
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a phrase and a language with the translation."""
    phrase, language = rng.choice(tuple(PHRASES)), rng.choice(LANGUAGES)
    said = phrase[:1].upper() + phrase[1:] if rng.random() < 0.2 else phrase
    prompt = PHRASING.say(rng, split, p=said, l=language)
    return Example(prompt=prompt, answer=PHRASES[phrase][language])


SKILL = Skill(
    name="phrasebook",
    summary="travel phrases in French, German, Spanish and Italian",
    draw=draw,
    normalise=plain,
    normalisation="lower case, single spaces, no full stop",
    covers=f"{len(PHRASES)} travel phrases from English into {', '.join(LANGUAGES)}",
    beyond="any other phrase or language, translation into English",
    instances_held_out=False,
)
