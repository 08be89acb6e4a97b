"""The table of `opposites`: one group a line, its sides separated by "|", the words of a side by ",".

The reader makes regular inflections; "=word" stands for itself only. Two words count when they follow each other.
"""

OPPOSITES = """
enable, activate, turn on, switch on, =activation | disable, deactivate, turn off, switch off, =deactivation
=on | =off
increase, raise, grow, boost, =rising, =rise, =grew | decrease, reduce, lower, shrink, diminish, =falling, =reduction
gain, =gained | lose, =lost, =loss
open, unlock, =opened | close, shut, lock, =locked
buy, purchase, =bought | sell, =sold, =sale
cause, =causes | prevent, cure, treat, effect, =effects
import, importation | export, exportation
add, =addition, insert, append | remove, delete, subtract, =removal, =deletion, =subtraction
start, begin, launch, =began, =begun | stop, end, finish, quit, =ended
accept, =acceptance | reject, refuse, decline, deny, =rejection, =refusal, =denied
allow, permit, let, legalize, legalise | forbid, ban, prohibit, block, deny, =forbidden
love, like, =loved | hate, dislike
win, =won, =winning | lose, =lost, =losing
push | pull
send, =sent | receive
give, =gave, =given | take, =took, =taken
come, =came, arrive, =arrival | go, leave, depart, =went, =gone, =left, =departure
arrive, arrival | depart, departure
enter, entry, =entrance | exit, leave
borrow | lend, loan, =lent
teach, =taught, =teaching | learn, =learnt
ask | answer, reply
attack, =offence, =offense, =offensive | defend, =defence, =defense, =defensive
build, construct, create, =built, =construction | destroy, demolish, =destruction
create, make, =creation, =created | delete, destroy, =deletion
connect, attach, =connection | disconnect, detach, =disconnection
encrypt, encode, =encryption | decrypt, decode, =decryption
compress, zip, =compression | decompress, unzip, extract, =decompression
install, =installation | uninstall, =uninstallation
upload | download
upgrade | downgrade
login, log in, sign in, =signin | logout, log out, sign out, =signout
sign up, register, subscribe, =signup, =subscription | unsubscribe, unregister, cancel, =cancellation
subscribe | unsubscribe
follow | unfollow
friend | unfriend
mount | unmount, dismount
bind | unbind
wrap | unwrap
pack | unpack
load | unload
dress, put on | undress, take off
deposit | withdraw, =withdrawal, =withdrew, =withdrawn
earn, make, save | spend, waste, =spent
save | spend, =spent
hire, recruit, employ | fire, dismiss, sack, lay off
appear | disappear, vanish
agree, =agreement | disagree, =disagreement
approve, =approval | disapprove, reject, =disapproval
appreciate | depreciate
encourage | discourage
include, =including, =inclusion, =inclusive | exclude, =excluding, =exclusion, =exclusive, except
inhale, breathe in | exhale, breathe out
expand, =expansion | contract, shrink, =contraction
accelerate, speed up, =acceleration | decelerate, slow down, brake, =deceleration
ascend, climb, =ascent, =ascending | descend, =descent, =descending
rise, =rose, =risen, =sunrise | fall, sink, set, =fell, =fallen, =sunset
strengthen, strong, =strength, =strengths | weaken, weak, =weakness, =weaknesses
improve, fix, repair, =improvement | worsen, damage, break, deteriorate, =broke, =broken
succeed, pass, =success, =successful | fail, =failure, =failing, =unsuccessful
remember, memorize, memorise | forget, =forgot, =forgotten
live, survive, =alive, =living, =life, birth, =born | die, =dead, death, =dying
wake, wake up, =awake, =woke | sleep, fall asleep, =asleep, =slept
marry, marriage, =wedding | divorce
show, reveal, display, unhide | hide, conceal, =hidden
speak, talk, =spoke | listen, hear, =heard
read, =reading | write, =wrote, =written
encourage | deter
lead | follow
lengthen, extend, prolong | shorten, cut, trim
maximize, maximise | minimize, minimise
merge, join, combine, unite | split, separate, divide, fork
lock | unlock
mute, silence | unmute
pause | resume, unpause
block | unblock, allow
archive | unarchive, restore
freeze, =frozen, =froze | thaw, melt, unfreeze, boil
heat, warm | cool, chill
melt | solidify, freeze
evaporate, =evaporation | condense, =condensation
inflate, =inflation | deflate, =deflation
praise, compliment | criticize, criticise, insult, blame
trust, believe, =belief | distrust, doubt, disbelieve, mistrust
win | draw
promote, =promotion | demote, =demotion
produce, =production | consume, =consumption
supply | demand
ally, friend | enemy, foe
absorb | emit, reflect, release
attract, =attraction, =attractive | repel, =repulsion, =repulsive
recommend | warn
obey | disobey
arm | disarm
qualify | disqualify
validate, =valid | invalidate, =invalid
commit | revert, rollback, roll back, undo
do, redo | undo
push | pop
enqueue | dequeue
serialize, serialise, marshal, =serialization | deserialize, deserialise, unmarshal, parse, =deserialization
allocate | free, deallocate
acquire | release
read | overwrite
confirm | cancel
continue | abort, stop, cancel
arrest, imprison, jail | release, =freed
cover | uncover
employ, =employed, =employment | =unemployed, =unemployment
defend, =defendant | prosecute, =plaintiff
fill, =full | empty, drain
float | sink
# Directions, places, times
before, prior to, =pre | after, following, =post
above, over | below, under, beneath
up, =upward, =upwards, =upstairs | down, =downward, =downwards, =downstairs
=inside, =indoor, =indoors, =internal, =interior, =inner | =outside, =outdoor, =outdoors, =external, =exterior, =outer
input | output
incoming, =inbound | outgoing, =outbound
left | right
top, peak, =highest | bottom, =lowest
front | back, rear
forward, =forwards, =ahead | backward, =backwards, =reverse
near, =close to, =nearest, =closest, =nearby | far, distant, =furthest, =farthest
first, =earliest, =initial | last, =latest, =final
first | second | third | fourth | fifth
early, =earlier | late, =later
past, =former, =previous, =history | future, =upcoming
old, =older, =oldest, =ancient | new, young, modern, =newer, =newest, =younger, =youngest
north, =northern | south, =southern | east, =eastern | west, =western
morning, =am | afternoon | evening, night, =pm
day, =daytime, =daylight | night, =nighttime
midnight | noon, midday
dawn, sunrise | dusk, sunset
summer | winter | spring | autumn
breakfast | lunch | dinner, supper
vertical, =vertically | horizontal, =horizontally | diagonal
clockwise | =counterclockwise, =anticlockwise
local, =locally | remote, global, =remotely, =globally
domestic, national | foreign, international, overseas
urban, city | rural, countryside
arrivals | departures
beginning, =start | ending, =end
always | never | sometimes
often, frequent, =frequently | rarely, seldom, rare
temporary, =temporarily | permanent, =permanently
# Sizes and amounts
minimum, min, =minimal | maximum, max, =maximal
least, =fewest, =less, =fewer | most, =more
few, =little | many, much
big, large, huge, =bigger, =biggest, =larger, =largest, =greatest | small, little, tiny, =smaller, =smallest
long, =longer, =longest | short, =shorter, =shortest, =brief
tall, =taller, =tallest | short, =shorter, =shortest
high, =higher, =highest | low, =lower, =lowest
wide, broad, =wider, =widest | narrow, =narrower, =narrowest
thick, =thicker, =thickest | thin, =thinner, =thinnest
fat, =fatter, =overweight, =obese | thin, =skinny, =slim, =thinner, =underweight
deep, =deeper, =deepest | shallow, =shallower, =shallowest
heavy, =heavier, =heaviest | light, =lighter, =lightest, =lightweight
fast, quick, =faster, =fastest, =quickly | slow, =slower, =slowest, =slowly
full | empty | half
whole, complete, entire | part, partial, half
single, =unmarried | married
single, =one | double, =two | triple, multiple, several
odd | even
positive, =pros, pro, advantage, benefit | negative, =cons, con, disadvantage, drawback, downside
asset | liability
profit, =profitable, gain | loss, =unprofitable
income, revenue | expense, expenditure, cost, outgoing
credit | debit
numerator | denominator
addition | subtraction | multiplication | division
add | subtract | multiply | divide
sum, total | difference | product | quotient
mean, average | median | mode
ceiling, =ceil | floor
upper, =uppercase | lower, =lowercase
prefix | suffix
row | column
# Qualities
good, =better, =best, =great | bad, =worse, =worst, terrible, =awful
right, correct, true, =correctly, =accurate | wrong, incorrect, false, =incorrectly, =inaccurate, fake
easy, simple, =easier, =easiest, =easily, =simplest | hard, difficult, complex, =harder, =hardest, tough, =complicated
cheap, inexpensive, =cheaper, =cheapest, affordable | expensive, costly, =pricey, luxury
rich, wealthy, =richest, =richer | poor, =poorest, =poorer
hot, =hotter, =hottest, warm, =warmer, =warmest | cold, cool, =colder, =coldest, =cooler
wet, humid | dry, arid
hard | soft
strong, =stronger, =strongest | weak, =weaker, =weakest
safe, =safely, secure | dangerous, unsafe, harmful, risky, insecure
healthy, =healthier | unhealthy, sick, ill
clean | dirty, messy
bright, =brighter | dark, dim, =darker
light | dark
sharp | blunt, dull
smooth | rough
beautiful, pretty, handsome, attractive | ugly, unattractive
smart, intelligent, clever, wise | stupid, dumb, foolish
happy, =happiness, glad | sad, unhappy, depressed, =sadness, =unhappiness
funny | serious
kind, nice | cruel, mean, rude
polite | rude, impolite
brave | cowardly, coward, afraid
lazy | hardworking, diligent
honest | dishonest, liar, lying
innocent | guilty
legal, lawful, =legally | illegal, unlawful, =illegally
moral, ethical | immoral, unethical
possible | impossible
necessary, required, mandatory, compulsory | unnecessary, optional, voluntary
public, =publicly | private, =privately
free | paid
guest | host
active | passive, inactive
natural, organic | artificial, synthetic, =unnatural
real, genuine, authentic, original | fake, counterfeit, imaginary, virtual, copy
raw, uncooked | cooked
fresh | stale, rotten
alive, =living | dead
online | offline
wired | wireless
analog, analogue | digital
manual, =manually | automatic, =automatically, automated
static, =statically | dynamic, =dynamically
mutable | immutable
synchronous, =sync | asynchronous, =async
sequential, serial | parallel, concurrent
server | client
frontend, =front end | backend, =back end
sender | receiver, recipient
encoder | decoder
compiler | interpreter
absolute | relative
qualitative | quantitative
abstract | concrete
theoretical, theory | practical, practice
general, =generally | specific, particular, =specifically
similar, same, =similarity, =similarities, alike, identical | different, differ, =difference, =differences, unlike
common, usual | rare, unusual, uncommon
known, famous | unknown
visible | invisible, hidden
conscious | unconscious
voluntary | involuntary
direct, =directly | indirect, =indirectly
formal | informal
major | minor
majority | minority
primary, main | secondary
senior | junior
professional, expert | amateur, beginner
beginner, novice | advanced, expert
liberal, left wing | conservative, right wing
democrat, democratic, =democrats | republican, =republicans
democracy | dictatorship, monarchy
capitalism, capitalist | socialism, communism, socialist, communist
optimistic, optimist | pessimistic, pessimist
introvert, introverted | extrovert, extroverted
theist, believer, religious | atheist, =atheists, agnostic
acid, acidic | base, alkaline
metal | nonmetal
solid | liquid | gas
mammal | reptile | bird | fish | insect
carnivore | herbivore | omnivore
vegetarian, vegan | carnivore
protein | carbohydrate, carb | fat | fiber, fibre | vitamin
proton | electron | neutron
anode | cathode
series | parallel
kinetic | potential
concave | convex
acute | obtuse | chronic
symptom | cause | treatment, cure
cause | effect, consequence, result
problem, question | solution, answer
origin, source | destination, target
question | answer
teacher, professor | student, pupil
doctor | patient | nurse
buyer, customer | seller, vendor
landlord | tenant
employer | employee
interviewer | interviewee
lender | borrower
winner | loser
victim | murderer, criminal, attacker
war | peace
heaven | hell
god | devil, satan
hero | villain
predator | prey
plaintiff | defendant
husband | wife
man, =men, male, =gentleman | woman, =women, female, lady
boy, guy, =boyfriend | girl, =girlfriend
he, =him, =his | she, =her, =hers
father, dad | mother, mom, mum
brother | sister
son | daughter
uncle | aunt
nephew | niece
grandfather, grandpa | grandmother, grandma
king, prince | queen, princess
actor | actress
parent, father, mother | child, kid, son, daughter
adult | child, kid, baby, teenager
cat, kitten | dog, puppy
sun, =solar | moon, =lunar
ocean, sea | river | lake
coffee | tea
beer | wine | whisky, whiskey, vodka
car | bike, motorcycle, bicycle | bus | train | plane, airplane
red | green | blue | yellow | orange | purple | black | white | brown | pink | grey, gray
gold | silver | bronze | copper
hardware | software
singular | plural
noun | verb | adjective | adverb
vowel | consonant
present | absent
with | without
for, =support, =supporting, =favor, =favour | against, =oppose, =opposing
more, =greater | less, =fewer
plus | minus
yes | no
allowed, legal | forbidden, illegal, banned
ahead | behind
together, =jointly | apart, alone, separately
ever | never
anyone, everyone, everybody, anybody | nobody, no one
everything, anything | nothing
everywhere, anywhere | nowhere
both | neither | either
useful, helpful | useless, unhelpful
careful | careless
harmful | harmless
painful | painless
hopeful | hopeless
powerful | powerless
meaningful | meaningless
asymptomatic | symptomatic
homework | classwork
daily | weekly | monthly | yearly, annual
undergraduate, bachelor, =bachelors, =undergrad | graduate, postgraduate, master, =masters, phd, doctorate
wholesale | retail
debt | equity
stock, share | bond
bull, bullish | bear, bearish
lunar | solar
arteries, artery | veins, vein
mitosis | meiosis
dna | rna
bacteria, bacterial | virus, viral | fungus, fungal
ipv4 | ipv6
=http | =https
tcp | udp
get | post | put | patch
client side | server side
breakable, fragile | unbreakable
inductive | deductive
odds | evens
convergent, converge | divergent, diverge
proponent, supporter | opponent
shorten | lengthen
liquidity | solvency
breadth | depth
stalactite | stalagmite
hyper, hyperglycemia, hypertension, hyperthyroidism | hypo, hypoglycemia, hypotension, hypothyroidism
"""
