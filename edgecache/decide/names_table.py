"""The table of `names`: "canonical: other forms". The words of a form follow each other in a text."""

NAMES = """
# Countries, with their people and languages
afghanistan: afghan, afghans
albania: albanian
algeria: algerian
argentina: argentinian, argentine
armenia: armenian
australia: australian, australians, aussie
austria: austrian, austrians
azerbaijan
bahrain
bangladesh: bangladeshi, bengali
belarus
belgium: belgian, belgians
bhutan
bolivia
bosnia
brazil: brazilian, brazilians
bulgaria: bulgarian
cambodia
cameroon
canada: canadian, canadians
chile: chilean
china: chinese, prc
colombia: colombian
congo
croatia: croatian
cuba: cuban
cyprus
czechia: czech, czech republic
denmark: danish, danes
ecuador
egypt: egyptian, egyptians
england: englishman, englishmen
english
estonia: estonian
ethiopia: ethiopian
finland: finnish, finns, finn
france: french, frenchman, frenchmen
georgia
germany: german, germans
ghana: ghanaian
greece: greek, greeks
greenland
haiti
hungary: hungarian
iceland: icelandic
india: indian, indians, bharat
indonesia: indonesian
iran: iranian, persian, iranians, farsi
iraq: iraqi
ireland: irish
israel: israeli, israelis
italy: italian, italians
jamaica
japan: japanese
jordan
kazakhstan
kenya: kenyan
kuwait
laos
latvia: latvian
lebanon: lebanese
libya: libyan
lithuania: lithuanian
luxembourg
malaysia: malaysian
malta
mexico: mexican, mexicans
mongolia: mongolian
morocco: moroccan
myanmar: burma, burmese
nepal: nepali, nepalese
netherlands: dutch, holland
new zealand
nigeria: nigerian
north korea: north korean, north koreans, dprk
norway: norwegian, norwegians
oman
pakistan: pakistani, pakistanis
palestine: palestinian, palestinians
panama
paraguay
peru: peruvian
philippines: filipino, philippine, tagalog
poland: polish, poles
portugal: portuguese
puerto rico
qatar
romania: romanian
russia: russian, russians
rwanda
saudi arabia: saudi
scotland: scottish, scots
senegal
serbia: serbian
singapore: singaporean
slovakia
slovenia
somalia
south africa: south african
south korea: korea, korean, koreans, south korean, south koreans
spain: spanish, spaniards
sri lanka: sri lankan
sudan
sweden: swedish, swedes
switzerland: swiss
syria: syrian, syrians
taiwan: taiwanese
tanzania
thailand: thai
tunisia
turkey: turkish
uganda
ukraine: ukrainian
united arab emirates: uae
united kingdom: uk, britain, great britain, british
united states: us, usa, united states of america, america, american, americans
uruguay
uzbekistan
venezuela
vietnam: vietnamese
wales: welsh
yemen
zambia
zimbabwe
# Continents and unions
africa: african
antarctica
asia: asian
europe: european
european union: eu
united nations: un
latin
# Cities and regions
amsterdam
athens
atlanta
austin
bangalore: bengaluru
bangkok
barcelona
beijing: peking
berlin
boston
brussels
budapest
buenos aires
cairo
california
cape town
chennai: madras
chicago
copenhagen
dallas
delhi: new delhi
denver
detroit
dubai
dublin
edinburgh
florida
frankfurt
geneva
hamburg
hawaii
helsinki
hong kong
houston
hyderabad
istanbul: constantinople
jakarta
jerusalem
karachi
kolkata: calcutta
kyoto
lagos
lahore
las vegas: vegas
lisbon
london
los angeles
madrid
manchester
manila
melbourne
miami
milan
montreal
moscow
mumbai: bombay
munich
nairobi
new york: new york city, nyc, ny
osaka
oslo
ottawa
oxford
cambridge
paris
perth
philadelphia
prague
pune
rio de janeiro: rio
rome
san diego
san francisco
seattle
seoul
shanghai
stockholm
sydney
tehran
tel aviv
texas
tokyo
toronto
vancouver
venice
vienna
warsaw
washington
zurich
# Planets
mercury
venus
mars
jupiter
saturn
uranus
neptune
pluto
# Languages and tools of programmers
python
java
javascript: js
typescript
c++: cpp
c#: csharp
golang
kotlin
scala
haskell
perl
php
ruby: ruby on rails
lua
julia
fortran
cobol
html
css
sql
mysql
postgresql: postgres
sqlite
mongodb: mongo
redis
oracle
cassandra
docker
kubernetes: k8s
react: reactjs, react.js
angular
vue: vuejs, vue.js
django
flask
node: nodejs, node.js
linux
ubuntu
debian
windows
macos: osx
android
ios
git
github
gitlab
tensorflow
pytorch
numpy
pandas
aws
azure
gcp
# Companies and services
amazon
apple
google
microsoft
facebook
instagram
whatsapp
twitter
linkedin
youtube
netflix
spotify
snapchat
tiktok
reddit
quora
uber
tesla
samsung
nokia
sony
intel
nvidia
amd
ibm
paypal
ebay
walmart
alibaba
flipkart
infosys
accenture
wikipedia
gmail
outlook
yahoo
excel
photoshop
openai
chatgpt
anthropic
iphone
ipad
macbook
playstation
xbox
# Religions
christianity: christian, christians
islam: islamic, muslim, muslims
hinduism: hindu, hindus
buddhism: buddhist, buddhists
judaism: jewish, jews, jew
sikhism: sikh, sikhs
catholicism: catholic, catholics
"""

FIRST_NAMES = """
donald hillary bill barack michelle george john james robert michael william david richard joseph thomas charles
christopher daniel matthew anthony mark paul steven steve stephen andrew kenneth kevin brian edward ronald timothy
jason jeffrey jeff ryan jacob gary nicholas eric jonathan larry justin scott brandon benjamin samuel gregory frank
alexander raymond patrick jack dennis jerry tyler aaron jose adam henry nathan douglas peter zachary kyle walter mary
patricia jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy betty margaret sandra ashley kimberly
emily donna carol amanda melissa deborah stephanie rebecca sharon laura cynthia kathleen amy angela anna ruth brenda
pamela nicole katherine kate catherine christine janet maria albert isaac leonardo vladimir narendra elon mahatma
adolf napoleon bernie ted marco mike joe emmanuel boris theresa tony winston nelson martin abraham franklin theodore
ludwig wolfgang johann vincent pablo claude julius arvind rahul sonia amitabh virat sachin cristiano lionel roger
rafael serena kim taylor britney lady johnny brad tom angelina leo will morgan ernest jane charlotte oscar mohandas
"""
"""First names that may be left out before a surname."""
