"""Grammars of small talk: patterns whose slots combine to thousands of messages of each kind."""

import re
from random import Random

_SLOTS: dict[str, str] = {
    # openers, names and tails that any kind may have
    "hey": "hi|hello|hey|hi there|hello there|hey there|howdy|hiya|greetings|hi again|hello again",
    "dawn": "good morning|good afternoon|good evening|good day|morning|evening|afternoon",
    "greet": "{hey}|{hey}|{hey} {pal}|{dawn}|{dawn} {pal}",
    "pal": "friend|my friend|bot|robot|assistant|dear assistant|mate|buddy|pal|computer|machine|"
    "model|little model|little helper|dear helper|old friend|my dear|everyone|everybody|team|folks",
    "to": "||||, {pal}",
    "first": "Anna|Tom|Maria|Peter|Lucy|Ahmed|Sofia|Ben|Clara|David|Emma|Felix|Grace|Hugo|Ivan|"
    "Julia|Kevin|Laura|Mark|Nina|Oscar|Paula|Rosa|Sam|Tina|Viktor|Wei|Yuki|Zoe|Olga",
    "town": "Paris|London|Madrid|Rome|Berlin|Oslo|Tokyo|Texas|India|Canada|Brazil|Kenya|Ireland|"
    "sunny Spain|rainy England|Australia|the north|the office|the other side of the world|school",
    "so": "|||so |and |ok, |well, |okay, |alright, |now |but |listen, |oh, |right, |um, |tell me, ",
    "sep": ", |! |. | - ",
    "ask": "can you tell me|could you tell me|would you tell me|will you tell me|"
    "can you please tell me|could you please tell me|would you please tell me|"
    "could you perhaps tell me|would you mind telling me|do you mind telling me|"
    "could you explain|can you explain|would you kindly tell me|may i ask|might i ask|"
    "could i ask|can i ask|would you be so kind as to tell me|are you allowed to tell me|"
    "could you let me know|can you let me know|is it possible to find out",
    "say": "tell me|please tell me|let me know|please let me know|explain|please explain|"
    "i want to know|i would like to know|i'd like to know|i'd love to know|i want to find out|"
    "i am curious|i wonder|i was wondering|i have been wondering|i need to know|i must know|"
    "just tell me|first tell me|say|please say|i would like to hear|i am trying to find out|"
    "i don't know|i do not know|i still don't know|i have no idea|i am not sure|remind me",
    "once": "||||| first| again| please| in a few words| in short| briefly| in one sentence",
    # hello
    "meet": "nice|great|good|lovely|a pleasure|pleased|glad|happy|so nice|really good|delighted",
    "met": "to meet you|to see you|to see you again|to be here|to talk to you|to chat with you|"
    "to make your acquaintance|to have you here|to hear from you|to be talking to you",
    "am": "i am|i'm|my name is|this is|it is|it's|they call me|people call me|the name is",
    "back": "i am back|i am here again|i have returned|it is me again|i am new here|"
    "i just got here|i just arrived|i just found this page|i just logged in|here i am|"
    "here i am again|"
    "i came by to say hello|this is my first time here|we have not met yet|"
    "we meet again|let me introduce myself|i have just joined|i am visiting for the first time",
    "greetword": "hi|hello|hey|good morning|good evening|good afternoon|a quick hello|a quick hi",
    "wish": "wanted to say|want to say|came to say|am here to say|came by to say|wished to say|"
    "thought i would say|am stopping by to say|only wanted to say|would like to say",
    "there": "is anyone there|is anybody there|is someone there|are you there|are you online|"
    "are you awake|are you listening|are you still there|can you hear me|do you hear me|"
    "are you around|is anyone home|is anybody home|is this thing on|does anyone hear me|"
    "are you receiving me|is anyone listening|anyone here|anybody here|is somebody around|"
    "do you read me|are you up|are you ready to talk|can anyone hear me|is the chat working",
    "dayname": "monday|tuesday|wednesday|thursday|friday|saturday|sunday|new year|easter|holidays",
    # who
    "whoq": "who are you|what are you|what is your name|what's your name|who made you|"
    "who built you|who created you|how big are you|which model are you|what are you called|"
    "are you a {machine}|are you a {human}|{sizeq}|{makeq}|{nameq}|{kindq}|{orq}|{talkq}",
    "whoi": "who you are|what you are|what your name is|what you are called|who made you|"
    "who built you|who created you|who trained you|who is behind you|who you were made by|"
    "how big you are|how large you are|which model you are|what kind of {machine} you are|"
    "what sort of {machine} you are|what type of {machine} you are|whether you are a {human}|"
    "if you are a {human}|whether you are a {machine}|if you are a {machine}|"
    "who i am talking to|who i am speaking with|what i am talking to|what i should call you|"
    "where you come from|how old you are|which company made you|how many parameters you have|"
    "who your maker is|what this {machine} is called|who is answering me|"
    "if i am talking to a {human}|whether i am chatting with a {machine}",
    "machine": "robot|bot|machine|computer|program|chatbot|language model|model|computer program|"
    "piece of software|neural network|virtual assistant|digital assistant|talking machine|"
    "small model|large language model|chat program",
    "human": "human|human being|person|real person|man|woman|living being|real human|"
    "person of flesh and blood|living person",
    "product": "chatgpt|gpt|gpt-4|gpt-5|claude|gemini|llama|mistral|siri|alexa|copilot|bard|grok|"
    "deepseek|cortana|qwen|openai|a version of gpt|the same as chatgpt|based on llama|"
    "made by google|made by openai|made by microsoft|made by apple|from meta",
    "made": "made|built|created|trained|developed|programmed|designed|invented|wrote|coded|"
    "came up with|brought up|taught",
    "maker": "maker|creator|inventor|developer|author|owner|programmer|designer",
    "makeq": "who {made} you|which company {made} you|what company {made} you|"
    "which team {made} you|who is your {maker}|what is the name of your {maker}|"
    "do you have a {maker}|which people {made} you|who owns you|who runs you|"
    "which company owns you|who was it that {made} you|"
    "who is the {maker} of this {machine}|by whom were you made|where were you made|"
    "when were you made|who are the people behind you|what lab do you come from",
    "sizeq": "how big are you|how large are you|how small are you|what is your size|"
    "how many parameters do you have|how many weights do you have|how many neurons do you have|"
    "are you a big model|are you a tiny model|are you a small {machine}|how much memory do you use|"
    "how many layers do you have|what size of model are you|how old are you|what is your age|"
    "which version are you|what version is this|what is your version number|"
    "how many millions of parameters do you have",
    "nameq": "what is your name|what's your name|do you have a name|what name were you given|"
    "what should i call you|what can i call you|what may i call you|by what name do you go|"
    "what do your friends call you|what do they call you|is your name {first}|"
    "are you called {first}|"
    "what is your full name|what is the name of this {machine}|how do people call you|"
    "have you got a name|which name do you go by|what is your real name|are you {product}|"
    "is this {product}|are you perhaps {product}|aren't you {product}|am i talking to {product}",
    "kindq": "what kind of {machine} are you|what sort of {machine} are you|"
    "what type of {machine} are you|which {machine} is this|what {machine} is this|"
    "what kind of {machine} is this|what kind of thing are you|what sort of being are you|"
    "what type of thing is this|what exactly are you|which {machine} am i using|"
    "what {machine} am i using|what model do you run on|which model answers me|"
    "what model is behind this|what does this {machine} call itself|is this a {machine}|"
    "is this a {human}|are you only a {machine}|are you just a {machine}|are you really a {human}|"
    "are you a {human}|are you a {machine}|so you are a {machine}|you are a {machine}, right|"
    "you are not a {human}, are you",
    "orq": "are you a {human} or a {machine}|are you a {machine} or a {human}|"
    "is this a {human} or a {machine}|is it a {machine} or a {human} that answers|"
    "human or machine|man or machine|bot or human|person or program|real or artificial|"
    "are you a boy or a girl|are you real or artificial",
    "talkq": "who am i {talking}|what am i {talking}|am i talking to a {human}|"
    "am i talking to a {machine}|am i chatting with a {human}|am i speaking to a {machine}|"
    "who is {answering}|who is on the other end|who do i have the pleasure of talking to|"
    "with whom do i speak|who is writing these answers|is a {human} {answering}|"
    "is a {machine} {answering}|is there a {human} behind this|where do you come from",
    "talking": "talking to|talking with|speaking to|speaking with|chatting with|writing to|"
    "dealing with|texting with",
    "answering": "answering me|answering my messages|replying to me|replying here|writing this|"
    "typing these answers|speaking to me|talking to me|answering here",
    "self": "yourself|yourself, please|who you are|what you are|your identity|your origins",
    "bit": "|a bit |a little |something |a few things |more |a little more |some more |everything ",
    # able
    "things": "things|tasks|questions|problems|jobs|requests|topics|subjects|stuff|work|exercises",
    "sort": "what sort of|what kind of|what kinds of|what type of|which kind of|what sorts of|"
    "which types of|which sort of",
    "treat": "handle|deal with|take care of|take on|help with|assist with|work on|"
    "help me with|help people with|do for me|answer for me|manage|understand",
    "cando": "can you|could you|are you able to|do you know how to|are you trained to|"
    "are you built to|were you made to|are you meant to",
    "youcan": "you can|you could|you are able to|you know how to|you are trained to|"
    "you are built to|you were made to|you are meant to",
    "act": "do|do for me|do for us|do for people|do to help|help with|help me with|assist with|"
    "assist me with|handle|offer|answer|solve|teach me|work on|take on",
    "skill": "skills|abilities|talents|strengths|capabilities|functions|features|strong points|"
    "strong sides|powers|specialities|competences|services|areas of expertise|uses|possibilities|"
    "main skills|best skills|main features|useful skills",
    "ablei": "what {youcan} {act}|what {things} {youcan} {treat}|{sort} {things} {youcan} {treat}|"
    "what you are {good} at|{sort} {things} you are {good} at|what your {skill} are|"
    "what you are {capable}|how you can {help} me|how you can {help} people|which {skill} you have|"
    "what i can {use} you for|what i can ask you|what i may ask here|what you are for|"
    "how you could be {useful} to me|what your purpose is|what you know about|"
    "what you have to offer",
    "ableq": "what {cando} {act}|what {things} {cando} {treat}|{sort} {things} {cando} {treat}|"
    "what are you {good} at|{sort} {things} are you {good} at|what are your {skill}|"
    "what are you {capable}|how can you {help} me|how could you {help} us|"
    "which {skill} do you have|"
    "what can i {use} you for|what can i ask you|what may i ask here|what are you for|"
    "how can you be {useful} to me|what is your purpose|what do you know about|"
    "what do you have to offer|what do you specialise in|in what ways can you {help} me",
    "good": "good|best|great|really good|strong|skilled|especially good|excellent|"
    "talented|strongest|any good",
    "capable": "capable of|able to do|useful for|suited for|trained for|made for|designed for|"
    "programmed to do|meant for|intended for|supposed to do|equipped to do",
    "help": "help|assist|support|be of help to|serve|be of use to|be of service to",
    "useful": "useful|helpful|of use|of help|of service|of value|handy",
    "use": "use|need|employ|turn to",
    "show": "list|show|name|describe|explain|present|show me|tell me|tell me about|give me|"
    "give me a list of|give me an overview of|describe to me|explain to me|sum up|summarise|"
    "write down|enumerate|talk about|say something about|make a list of|please list|please show me|"
    "please describe|introduce me to|run me through|walk me through|let me see|let me hear about",
    "aid": "help|some help|a bit of help|a hand|assistance|some assistance|support|your help|"
    "your assistance|a little help|some advice from you",
    "need": "i need|i want|i could use|i would like|i am looking for|i require|i'd like|"
    "i am in need of|we need|please give me|can i get|could i have|can i have|may i have",
    "helpme": "help me|help me out|help me a bit|assist me|give me a hand|lend me a hand|"
    "be of help|help us|help me today|help me with something|help me with a problem|"
    "help me with a question|do something for me|do me a favour|be my helper|"
    "answer something for me|answer a question|answer some questions|solve a problem for me",
    "modal": "can you|could you|would you|will you|are you able to|is it possible for you to|"
    "are you willing to|would you please|could you please|can you please|do you think you can|"
    "are you here to|any chance you could",
    "can": "sums|arithmetic|unit conversion|dates|sql|json|travel phrases|python|maths|"
    "country facts|addition|converting units|calculating dates|queries|currencies and capitals",
    "question": "a question|some questions|a problem|a request|a small question|a task|"
    "something to ask|a few questions|a quick question for you|a job for you|a task for you",
    "how": "how do i use|how can i use|how should i use|how do people use|how does one use|"
    "how do i work with|how do i make the most of|how can i best use|how do i start using|"
    "what can i do with|what should i use",
    "this": "you|this|this bot|this assistant|this model|this tool|this chat|this program",
    "forwhat": "this bot|this assistant|this model|this tool|this program|this chat|this thing|"
    "a model like you|a program like you|something like you|a tiny model like you",
    # how
    "howq": "how are you|how are you doing|how is it going|how's it going|how are things|"
    "how do you feel|how are you feeling|how is life|how's life|how have you been|"
    "how is everything|how is your {day}|how was your {day}|how has your {day} been|"
    "how is your {day} going|how are things going|how is life treating you|what's up|what is up|"
    "how are things with you|how goes it|how have things been|how is everything going|"
    "how has life been|how are you getting on|how are you keeping|how did you sleep",
    "howi": "how you are|how you are doing|how you feel|how you are feeling|how it is going|"
    "how things are going|how your {day} was|how your {day} is going|how you have been|"
    "how life is treating you|if you are {mood}|whether you are {mood}|if you feel {mood}|"
    "whether you feel {mood}|how your {day} has been|if everything is {fine}|"
    "whether you are {fine}|if you are {fine}|whether you have feelings|if you can feel {emotion}",
    "day": "day|morning|afternoon|evening|week|weekend|night|monday|friday|month|year|holiday|"
    "work|health|life",
    "lately": "||||| today| now| right now| lately| this morning| this evening| tonight|"
    " these days|"
    " so far| at the moment| this week|, if i may ask| this fine day| on this rainy day| then",
    "mood": "happy|sad|tired|bored|lonely|angry|excited|nervous|sleepy|hungry|busy|afraid|scared|"
    "worried|proud|stressed|relaxed|upset|in a good mood|in a bad mood|sick|ill|exhausted|cheerful|"
    "glad|content|unhappy|frustrated|annoyed|jealous|thirsty|cold|in love|in pain|satisfied|calm",
    "fine": "fine|well|ok|okay|good|all right|alright|great",
    "very": "|||very |really |a bit |ever |sometimes |always |still |often ",
    "often": "|||really |ever |sometimes |always |still |often ",
    "emotion": "joy|pain|anger|love|fear|sadness|happiness|hunger|boredom|stress|pride|shame|"
    "emotions|anything|something|the cold|pleasure|sorrow|hope",
    "hoping": "i hope|hope|i do hope|i really hope|hoping|we hope|just hoping|i trust",
    "hoped": "you are {fine}|you're {fine}|you are doing {fine}|you feel {fine}|"
    "you are having a {nice} {day}|your {day} is going well|your {day} was {nice}|"
    "everything is {fine}|everything is going well|all is well with you|you are {fine} today|"
    "you slept well|this message finds you well|life is treating you well|you are not tired|"
    "you are in a good mood|you had a {nice} {time}|you are not too {mood}",
    "time": "day|morning|evening|weekend|night|week|afternoon|holiday",
    "nice": "nice|good|great|lovely|wonderful|pleasant|calm|fantastic|fine|beautiful|relaxing",
    "mine": "i am {fine}|i'm {fine}|i am doing {fine}|i feel {fine}|all {fine} here|"
    "fine|not bad|very well|i am great|i'm doing great|life is good|i had a {nice} {time}|"
    "can't complain",
    "you": "and you|how about you|what about you|and yourself|how about yourself|how are you|"
    "and how are you|and how do you feel|how are you doing",
    # thanks
    "ty": "thanks|thank you|many thanks|thanks a lot|thank you so much|thank you very much|"
    "thanks so much|thx|a big thank you|thanks a million|a thousand thanks|thank you kindly|"
    "thanks a bunch|thanks very much|my thanks|thanks indeed|lots of thanks|big thanks|"
    "thanks a ton|thanks again|thank you again",
    "for": "help|your help|the help|your time|your answer|the answer|your patience|your support|"
    "the information|your effort|the explanation|your kind words|your advice|the advice|the tip|"
    "the quick reply|your quick answer|your reply|the fast answer|this|that|everything|"
    "all of this|all your help|the good work|your kindness|the clear answer|the result|"
    "the assistance|your service|the solution|the lesson|the chat|the details|the example",
    "doing": "helping|helping me|helping me out|answering|answering me|answering so quickly|"
    "explaining|explaining that|your help with this|being so helpful|being so kind|being there|"
    "being patient|trying|your help today|doing this|solving this|working it out|"
    "clearing that up|sorting that out|taking the time|the help you gave me|showing me|"
    "teaching me something",
    "praise": "great|good|perfect|excellent|brilliant|wonderful|lovely|amazing|awesome|fantastic|"
    "super|nice|very good|very helpful|really useful|very clear|splendid|superb|terrific|"
    "outstanding|impressive|marvellous|incredible|neat",
    "work": "answer|job|work|reply|explanation|help|result|solution|response|advice|service|tip",
    "reply": "answer|job|reply|explanation|result|solution|response|tip",
    "a_praise": "a great|a good|a perfect|an excellent|a brilliant|a wonderful|a lovely|an amazing|"
    "an awesome|a fantastic|a super|a nice|a very good|a helpful|a useful|a clear|a superb",
    "that": "that|this|it|your answer|your reply|the answer|your help|your explanation|"
    "what you wrote|your advice|your solution",
    "helped": "helped|helped a lot|helped me a lot|was {praise}|is {praise}|was just right|"
    "is just right|works|works perfectly|worked|worked well|was a great help|"
    "saved me a lot of time|"
    "made my day|saved my day|solved my problem|answered my question|was very kind of you|"
    "is very kind of you|was what i was looking for|was what i needed|is exactly right|"
    "makes sense now|is clear now|cleared things up|did the trick|was spot on|is correct",
    "exactly": "exactly|just|precisely|really",
    "wanted": "what i was looking for|what i needed|what i wanted|what i wanted to know|"
    "what i hoped for|"
    "the answer i needed|the thing i needed|what i had in mind|the help i needed|"
    "the answer i was looking for|what we needed",
    "kind": "kind|helpful|great|the best|awesome|a star|a genius|a lifesaver|amazing|wonderful|"
    "very kind|very helpful|so helpful|so kind|too kind|brilliant|a great help|very clever|"
    "a good bot|fantastic|a good helper|a treasure|a hero",
    "grateful": "i am grateful|i am very grateful|i am so grateful|i am thankful|"
    "i really appreciate|"
    "i appreciate|we appreciate|i truly appreciate|i do appreciate|i am happy with|i love|i like|"
    "i am very happy with|i am pleased with|i am impressed by|i owe you for",
    "okword": "ok|okay|great|perfect|alright|cool|nice|wow|oh|ah|yes|right|good|excellent|"
    "got it|i see|i understand|fine|super|lovely|that works|it works|all clear|understood|"
    "brilliant|wonderful|good to know|makes sense|that helps|fair enough",
    "iwant": "i want to|i would like to|i just want to|let me|i wanted to|i must|i'd like to|"
    "allow me to|i really want to|i only wanted to|i just wanted to|we want to|i have to",
    "thankyou": "thank you|say thanks|say thank you|express my thanks|thank you for {for}|"
    "thank you for {doing}|say thanks for {for}|say that you are {kind}|say how grateful i am|"
    "thank you once more",
    # bye
    "bye": "bye|goodbye|bye bye|see you|see you later|see you soon|see you tomorrow|good night|"
    "take care|farewell|so long|bye for now|cya|see ya|until next time|until tomorrow|"
    "talk to you later|catch you later|talk soon|goodbye for now|bye then|have a {nice} {time}|"
    "see you next week|see you around|till tomorrow",
    "must": "i have to|i must|i need to|i've got to|i gotta|i should|i'd better|i had better|"
    "i am afraid i have to|sorry, i have to|sorry, i must|i really have to|i really must|"
    "we have to|now i have to|i will|i am going to|i think i will|it is time for me to|"
    "it is time to|time to",
    "leave": "go|leave|run|go now|leave now|be off|go home|go to bed|go to sleep|get going|"
    "get some sleep|head home|head out|log off|stop here|say goodbye|catch my train|catch my bus|"
    "catch a flight|go to work|get back to work|go to class|go to school|go to a meeting|"
    "cook dinner|feed the cat|walk the dog|pick up the kids|do the dishes|go shopping|"
    "get ready for work|go to the gym|make dinner|have lunch|leave the house|get some rest|"
    "end this chat|close this window|hang up|finish here|meet a friend|call it a day|"
    "catch the last bus|go to the dentist|take a nap|turn off my computer",
    "event": "my train leaves soon|my bus is here|my lunch break is over|my friends are waiting|"
    "it is late|it is getting late|it is past midnight|my meeting starts now|class starts soon|"
    "dinner is ready|my phone is almost empty|my battery is dying|my mother is calling|"
    "work is calling|my taxi is here|my shift starts soon|i am tired and going to bed|"
    "the shop is closing|my flight is boarding|i am late|school starts soon|my break is over",
    "off": "i am off|i am off to bed|i am off to work|i am leaving|i am leaving now|i am going|"
    "i am going home|i am going to bed|i am done for today|i am done here|i am out|"
    "i am heading home|i am heading out|i am signing off|i am logging off|that is all|"
    "that's all for today|that is everything for now|that was my last question|"
    "i have no more questions|"
    "i have everything i need|we are done|nothing else for today|that will be all|"
    "i won't keep you any longer|i will leave you alone now|i will let you go|off to bed|"
    "off to work|off to school|i am going offline|this is the end of our chat",
    "again": "i will be back {when}|i will come back {when}|i will write again {when}|"
    "we will talk {when}|let's talk again {when}|let us continue {when}|we can continue {when}|"
    "see you {when}|talk to you {when}|i will see you {when}|i will talk to you {when}|"
    "let's meet again {when}|until we meet again|until we talk again|speak to you {when}|"
    "hope to see you {when}|we will meet again {when}|i will return {when}",
    "when": "tomorrow|later|soon|next week|next time|tonight|on monday|on friday|in the morning|"
    "after lunch|after work|another day|another time|some other time|in a few days|next month|"
    "later today|after the weekend|in an hour",
    "pleasure": "nice|great|good|lovely|wonderful|pleasant|fun|a pleasure|interesting|really nice",
    "wishes": "have a {nice} {time}|have a {nice} {time} ahead|enjoy your {time}|"
    "enjoy the rest of your {time}|have a {nice} rest of the {time}|take care|sleep well|"
    "sweet dreams|take care of yourself|stay well|stay safe|be good|keep well|all the best|"
    "i wish you a {nice} {time}|best wishes|good luck|good night",
}
SLOTS = {slot: tuple(choices.split("|")) for slot, choices in _SLOTS.items()}
"""What may stand in each slot; an alternative may have slots of its own, or be empty."""

HELLO = (
    "{greet}{sep}{am} {first}",
    "{greet} from {town}",
    "{hey}{sep}{am} {first} from {town}",
    "{greet}{sep}{meet} {met}",
    "{greet}{sep}{back}",
    "{meet} {met}{to}",
    "{greet}",
    "{greet}{sep}{dawn}",
    "{so}{greet}",
    "{hey}, {there}?",
    "{greet}? {there}?",
    "{there}{to}?",
    "i {wish} {greetword}{to}",
    "just {greetword} from {first}",
    "happy {dayname}{to}!",
    "{hey} and happy {dayname}{to}",
    "{dawn} to you{to}",
    "a {nice} {time} to you, {pal}",
    "{hey}{sep}{am} {first}, {meet} {met}",
    "say {greetword} to me",
    "{first} says {greetword}",
    "{am} {first} and i {wish} {greetword}",
)
WHO = (
    "{so}{whoq}?",
    "{so}{whoq}{to}?",
    "{greet}{sep}{whoq}?",
    "{ask} {whoi}?",
    "{ask} {whoi}{once}?",
    "{say} {whoi}{once}",
    "{so}{say} {whoi}",
    "{greet}{sep}{say} {whoi}",
    "{greet}{sep}{ask} {whoi}?",
    "{okword}, but {whoq}?",
    "{kindq}?",
    "{nameq}?",
    "{makeq}?",
    "{sizeq}?",
    "{orq}?",
    "{talkq}?",
    "tell me {bit}about yourself{once}",
    "can you tell me {bit}about yourself?",
    "could you say something about yourself?",
    "i would like to hear {bit}about you",
    "describe {self}",
    "introduce yourself{once}",
    "{modal} introduce yourself{once}?",
    "{modal} tell me your name?",
    "{modal} describe yourself{once}?",
    "present yourself{to}",
    "your name, {pal}?",
    "name, please",
    "your {maker}?",
    "i think you are a {machine}, is that right?",
    "i bet you are {product}",
    "my friend says you are a {machine}, is that true?",
    "{am} {first}, and who are you?",
    "{am} {first}, what is your name?",
)
ABLE = (
    "{so}{ableq}?",
    "{so}{ableq}{to}?",
    "{greet}{sep}{ableq}?",
    "{ask} {ablei}?",
    "{ask} {ablei}{once}?",
    "{say} {ablei}{once}",
    "{so}{say} {ablei}",
    "{greet}{sep}{say} {ablei}",
    "{greet}{sep}{ask} {ablei}?",
    "{okword}, and {ableq}?",
    "{show} your {skill}",
    "{show} your {skill}{once}",
    "{show} the {things} {youcan} {treat}",
    "{show} the {things} you are {good} at",
    "{show} everything {youcan} do",
    "{modal} list your {skill}{once}?",
    "{modal} describe your {skill}{once}?",
    "your {skill}?",
    "your {skill}, please",
    "list of your {skill}",
    "{need} {aid}",
    "{greet}{sep}{need} {aid}",
    "{modal} {helpme}?",
    "{greet}{sep}{modal} {helpme}?",
    "please {helpme}",
    "i have {question}",
    "{greet}{sep}i have {question}",
    "{how} {this}?",
    "what is {forwhat} {good} at?",
    "what can {forwhat} do?",
    "what is {forwhat} for?",
    "what does {forwhat} do?",
    "{sort} questions can i ask {forwhat}?",
    "are you good at {can}?",
    "is there anything you are {good} at?",
    "{ask} what {forwhat} can do?",
    "do you have any {skill}?",
    "what are the {skill} of {forwhat}?",
    "{am} {first}, {ableq}?",
    "i do not know what to ask you",
    "give me {bit}examples of what {youcan} do",
    "is there anything {youcan} {act}?",
    "what else {cando} {act}?",
    "besides {can}, what else can you do?",
)
HOW = (
    "{so}{howq}{lately}?",
    "{howq}{lately}{to}?",
    "{greet}{sep}{howq}{lately}?",
    "{greet}{sep}{howq}?",
    "{ask} {howi}{lately}?",
    "{say} {howi}{lately}",
    "{greet}{sep}{say} {howi}",
    "{greet}{sep}{ask} {howi}?",
    "{hoping} {hoped}",
    "{greet}{sep}{hoping} {hoped}",
    "are you {very}{mood}{lately}?",
    "do you {often}feel {mood}{lately}?",
    "do you {often}get {mood}?",
    "can you feel {emotion}?",
    "can you be {mood}?",
    "do you feel {emotion}?",
    "is everything {fine}{lately}?",
    "are you {fine}{lately}?",
    "are you feeling {fine}{lately}?",
    "are you feeling {mood}{lately}?",
    "you seem {mood}, are you {fine}?",
    "why are you {mood}{lately}?",
    "{mine}, {you}?",
    "{ty}, {mine}, {you}?",
    "{greet}{sep}{mine}, {you}?",
    "{am} {first}, {howq}?",
    "did you have a {nice} {time}?",
    "have you had a {nice} {time}?",
    "are you having a {nice} {time}?",
    "was your {time} {nice}?",
    "is your {day} going well?",
    "what makes you {mood}?",
    "what mood are you in{lately}?",
    "you {fine}{to}?",
    "{mood} today, {pal}?",
    "{okword}, and {howq}?",
)
THANKS = (
    "{ty}{to}",
    "{ty} for {for}",
    "{ty} for {for}{to}",
    "{ty} for {doing}",
    "{okword}, {ty}",
    "{okword}, {ty} for {for}",
    "{okword}! {ty} for {doing}",
    "{praise} {work}{to}",
    "{praise} {work}{sep}{ty}",
    "what {a_praise} {reply}",
    "{that} {helped}",
    "{that} {helped}{sep}{ty}",
    "{ty}{sep}{that} {helped}",
    "that is {exactly} {wanted}",
    "that was {exactly} {wanted}{sep}{ty}",
    "{okword}, that is {exactly} {wanted}",
    "{ty}, that is {exactly} {wanted}",
    "you are {kind}",
    "you are {kind}{sep}{ty}",
    "{ty}, you are {kind}",
    "you have been {kind}",
    "you did {a_praise} job{to}",
    "{grateful} your {work}",
    "{grateful} the {work}{sep}{ty}",
    "{iwant} {thankyou}",
    "{iwant} {thankyou}{to}",
    "i could not have done it without you{to}",
    "{praise}{sep}{ty}",
    "{praise}, {that} {helped}",
    "it was {praise} of you to help me",
    "how {praise} of you{to}",
    "that is {a_praise} {reply}",
    "this is {a_praise} {reply}{sep}{ty}",
)
BYE = (
    "{bye}{to}",
    "{must} {leave}{sep}{bye}",
    "{must} {leave}",
    "{must} {leave} now",
    "{must} {leave}, {event}",
    "{event}, {must} {leave}",
    "{event}, {bye}",
    "{bye}{sep}{event}",
    "{bye}{sep}{must} {leave}",
    "{off}",
    "{off}{sep}{bye}",
    "{bye}{sep}{off}",
    "{again}",
    "{bye}{sep}{again}",
    "{off}, {again}",
    "{must} {leave} but {again}",
    "{wishes}{to}",
    "{bye} and {wishes}",
    "{okword}, {bye}",
    "{okword}, {off}",
    "{okword}, {must} {leave}",
    "{ty}, {bye}",
    "{ty}{sep}{bye}",
    "{ty} for {for}, {bye}",
    "{ty} for {doing}. {bye}",
    "{ty}, {must} {leave}",
    "{ty}, {again}",
    "{ty}{sep}{wishes}",
    "{that} {helped}, {bye}",
    "it was {pleasure} talking to you, {bye}",
    "it was {pleasure} to meet you, {bye}",
    "{iwant} say goodbye{to}",
    "{iwant} wish you a {nice} {time}, {bye}",
    "{praise} {work}, {bye}",
)

_SLOT = re.compile(r"\{(\w+)\}")


def message(rng: Random, patterns: tuple[str, ...]) -> str:
    """Word one message: a pattern with a choice in each slot, and in the slots within it."""
    text = rng.choice(patterns)
    while "{" in text:
        text = _SLOT.sub(lambda slot: rng.choice(SLOTS[slot[1]]), text)
    return text
