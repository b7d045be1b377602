#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The program `engram` seen from outside: what it prints, and how it ends.
#   contract.sh PROGRAM SCRATCH-FOLDER
set -u
engram=$1
scratch=$2/cli
mkdir -p "$scratch"
cd "$scratch" || exit 1
failed=0
checks=0

# run EXIT-STATUS ARGUMENTS...: leaves the output in out and err.
run() {
  local expected=$1
  shift
  checks=$((checks + 1))
  "$engram" "$@" >out 2>err
  local status=$?
  if [ "$status" -ne "$expected" ]; then
    echo "FAILED: engram $*: exit status $status, expected $expected"
    cat err
    failed=$((failed + 1))
  elif [ "$status" -ne 0 ] && [ -s out ]; then
    echo "FAILED: engram $*: printed to stdout although it failed"
    failed=$((failed + 1))
  elif [ "$status" -ne 0 ] && [ ! -s err ]; then
    echo "FAILED: engram $*: failed without a word"
    failed=$((failed + 1))
  fi
}
# prints TEXT ARGUMENTS...: stdout is exactly that line.
prints() {
  local text=$1
  shift
  run 0 "$@"
  if [ "$(cat out)" != "$text" ]; then
    echo "FAILED: engram $*"
    echo "  printed  $(cat out)"
    echo "  expected $text"
    failed=$((failed + 1))
  fi
}
# says WORDS EXIT-STATUS ARGUMENTS...: fails with these words on stderr.
says() {
  local words=$1
  shift
  run "$@"
  if ! grep -qF -- "$words" err; then
    echo "FAILED: engram ${*:2}: '$words' is not in: $(cat err)"
    failed=$((failed + 1))
  fi
}

small=(--layers 1,4 --sizes 64,64,64 --heads 2 --max-ngram 4 --compressed-vocab 64)
one=(--layers 1 --sizes 64,64,64 --heads 2 --max-ngram 4 --compressed-vocab 64)

# layout
prints '{"max_ngram":4,"heads":2,"compressed_vocab":64,"pad":2,"seed":0,"layers":[{"layer_id":1,"multipliers":["118650432209603643","7493640653728489","55676810147952557","114555519428547269"],"primes":[[67,71],[73,79],[83,89]],"offsets":[0,67,138,211,290,373],"rows":462},{"layer_id":4,"multipliers":["127364524771245009","7800076361716407","114038564133282483","29348051253447937"],"primes":[[97,101],[103,107],[109,113]],"offsets":[0,97,198,301,408,517],"rows":630}],"digest":"dc92b42e821c0acdda60ac5450df3a7382900dfd2a726d706893da377551bbc8"}' \
  layout "${small[@]}"
run 0 layout --preset deepseek-v4.1
grep -q '"rows":384006168.*"rows":384016682' out || { echo "FAILED: rows of V4.1"; failed=$((failed + 1)); }
run 0 layout --preset qwen3.8-ple
grep -q '"23703573157769".*"rows":320001446' out || { echo "FAILED: rows of Qwen"; failed=$((failed + 1)); }
run 0 layout --preset deepseek-v4.1 --compressed-vocab 1000 # derives the multipliers anew
grep -q '"7593627661414631"' out || { echo "FAILED: overridden size"; failed=$((failed + 1)); }
says "compressed-vocab" 2 layout --preset demo
says "--preset" 2 layout
says "--layers" 2 layout --sizes 64 --heads 2 --max-ngram 2 --compressed-vocab 9
says "--sizes" 2 layout --layers 1 --heads 2 --max-ngram 2 --compressed-vocab 9
says "not expected" 2 layout --frob
says "" 2 layout --heads x
says "" 2 layout --preset nope
says "'-1' is not a whole number from 0 on" 2 layout "${small[@]}" --seed -1
says "n_head_per_ngram is 0" 1 layout --layers 1 --sizes 64 --heads 0 --max-ngram 2 --compressed-vocab 64
says "--heads" 2 layout "${small[@]}" --heads 3 # said twice
says "asks for 0 rows" 1 layout --layers 1 --sizes 64,0,64 --heads 2 --max-ngram 4 --compressed-vocab 64
says "2 sizes, expected 3" 1 layout --layers 1 --sizes 64,64 --heads 2 --max-ngram 4 --compressed-vocab 64
says "max_ngram_size is 9" 1 layout --layers 1 --sizes 64 --heads 1 --max-ngram 9 --compressed-vocab 64
says "id 64 is not a token id" 1 layout "${small[@]}" --pad 64
says "which is even" 1 layout --layers 1 --sizes 64 --heads 1 --max-ngram 2 --compressed-vocab 64 --multipliers 1,4
says "overflows 63 bits" 1 layout --layers 1 --sizes 64 --heads 1 --max-ngram 2 --compressed-vocab 64 --multipliers 1,9223372036854775807
says "3 multipliers, expected 2" 1 layout --layers 1 --sizes 64 --heads 1 --max-ngram 2 --compressed-vocab 64 --multipliers 1,3,5
says "no list of numbers" 2 layout "${small[@]}" --multipliers 1,x
says "the layer id stands twice" 1 layout --layers 1,1 --sizes 64 --heads 1 --max-ngram 2 --compressed-vocab 64

# address
prints '{"rows":[[[5,109,198,236,345,446],[87,122,203,310,499,600]],[[60,132,163,243,360,383],[79,130,298,330,470,558]]],"state":[-1,2,17]}' \
  address "${small[@]}" --ids 2,17
run 0 address "${one[@]}" --ids 17 --history 3,5,7
mv out continued
run 0 address "${one[@]}" --ids 3,5,7,17 # a history is what came before
checks=$((checks + 1))
if [ "$(sed 's/.*\(\[\[[^]]*\]\]\],"state\)/\1/' out)" != "$(sed 's/{"rows":\[//' continued)" ]; then
  echo "FAILED: history: $(cat continued) against $(cat out)"
  failed=$((failed + 1))
fi
prints '{"rows":[[[30,102,163,280,360,441]],[[5,109,198,236,345,446]],[[48,96,140,280,351,445]]],"state":[-1,-1,11]}' \
  address "${one[@]}" --ids 5,7,11 --dead 1 --history 1,-1,3
prints '{"rows":[],"state":[-1,-1,-1]}' address "${one[@]}" --ids @/dev/null
printf '5,7\n11' >ids
run 0 address "${one[@]}" --ids @ids
mv out from_file
run 0 address "${one[@]}" --ids 5,7,11
cmp -s out from_file || { echo "FAILED: --ids @FILE"; failed=$((failed + 1)); }
"$engram" address "${one[@]}" --ids - <ids >out 2>err
cmp -s out from_file || { echo "FAILED: --ids -"; failed=$((failed + 1)); }
says "beyond the token map (id 64)" 1 address "${one[@]}" --ids 5,64
says "position 1 is negative" 1 address "${one[@]}" --ids 5,-1
says "no list of numbers" 2 address "${one[@]}" --ids 5,x
says "no list of numbers" 2 address "${one[@]}" --ids 5,,7
says "--ids" 2 address "${one[@]}"
says "position 3 is not among the 3 ids" 1 address "${one[@]}" --ids 5,7,11 --dead 3
says "2 ids, expected 3" 1 address "${one[@]}" --ids 5 --history 1,2
says "64 at position 2" 1 address "${one[@]}" --ids 5 --history 1,2,64
says "" 2 address "${one[@]}" --ids 5 --history 1,2,x
says "cannot open" 1 address "${one[@]}" --ids @does_not_exist
printf 'five' >ids
says "no number" 1 address "${one[@]}" --ids @ids
says "is not among" 1 address "${one[@]}" --ids 5 --boundary starts:1
says "eos:ID" 2 address "${one[@]}" --ids 5 --boundary eos
says "id 64 is not a token id" 1 address "${one[@]}" --ids 5 --boundary eos:64

# an empty or half-empty value is never a 0
for option in --layers --sizes --heads --max-ngram --compressed-vocab --pad --seed --salt --boundary \
  --mixer --multipliers --moduli --preset; do
  says "" 2 layout --preset demo --compressed-vocab 64 "$option" ""
done
for option in --ids --dead --history --token-map; do
  says "" 2 address --preset demo --compressed-vocab 64 --ids 1 "$option" ""
done
says "" 2 layout --layers 1,,4 --sizes 64 --heads 1 --max-ngram 2 --compressed-vocab 64
says "" 2 layout --layers 1, --sizes 64 --heads 1 --max-ngram 2 --compressed-vocab 64
says "" 2 layout --layers 1 --sizes 0x40 --heads 1 --max-ngram 2 --compressed-vocab 64
says "" 2 layout --layers 1 --sizes 9223372036854775808 --heads 1 --max-ngram 2 --compressed-vocab 64
says "" 2 layout --layers 1 --layers 4 --sizes 64 --heads 1 --max-ngram 2 --compressed-vocab 64
run 0 layout --layers 010 --sizes 64 --heads 1 --max-ngram 2 --compressed-vocab 64
grep -q '"layer_id":10,' out || { echo "FAILED: 010 is ten"; failed=$((failed + 1)); }
says "is negative" 1 layout "${small[@]}" --boundary starts:-5
says "2 sizes, expected 1" 1 layout --layers 1 --sizes 5,5 --heads 1 --max-ngram 2 --compressed-vocab 64 --moduli 5
"$engram" address "${one[@]}" --ids - <"$scratch" >out 2>err # a folder cannot be read
{ [ $? -eq 1 ] && [ ! -s out ]; } || { echo "FAILED: unreadable standard input"; failed=$((failed + 1)); }
says "no command 'frob'" 2 frob

# boundaries cut where they should: the last token looks like a first one
run 0 address "${one[@]}" --ids 9
mv out first
for boundary in eos:7 starts:1; do
  run 0 address "${one[@]}" --ids 7,9 --boundary $boundary
  checks=$((checks + 1))
  if ! grep -qF "$(sed 's/{"rows":\[\(.*\)\],"state".*/\1/' first)" out; then
    echo "FAILED: --boundary $boundary: $(cat out)"
    failed=$((failed + 1))
  fi
done

# token maps: the ids become token ids, and the size must be the geometry's
printf '\0\0\0\0\1\0\0\0\1\0\0\0\2\0\0\0' >map # 0 1 1 2
tiny=(--layers 1 --sizes 64 --heads 1 --max-ngram 2 --pad 0)
run 0 address "${tiny[@]}" --token-map map --ids 1,3
mv out mapped
run 0 address "${tiny[@]}" --token-map map --ids 2,3
cmp -s out mapped || { echo "FAILED: spellings of one key differ"; failed=$((failed + 1)); }
run 0 address "${tiny[@]}" --compressed-vocab 3 --ids 1,2
cmp -s out mapped || { echo "FAILED: a mapped id is not its canonical id"; failed=$((failed + 1)); }
says "beyond the token map (id 4)" 1 address "${tiny[@]}" --token-map map --ids 4
says "the compressed vocabulary is 3, expected 64" 1 address "${tiny[@]}" --compressed-vocab 64 --token-map map --ids 1
says "number of entries is 4, expected 129280" 1 address --preset deepseek-v4.1 --token-map map --ids 1
says "number of entries is 4, expected 129280" 1 address --preset deepseek-v4.1 --compressed-vocab 99092 --token-map map --ids 1
printf '\0\0\0\0' >short
says "no entry for the pad id 2" 1 address --preset demo --token-map short --ids 0
printf '\0\0\0\0\1' >map
says "multiple of 4" 1 address "${tiny[@]}" --token-map map --ids 1
printf '\377\377\377\377' >map
says "negative" 1 address "${tiny[@]}" --token-map map --ids 0

# normalize
printf '"The"\n"\\u00c9"\n" \\n"\n"\\u000b"\n' | "$engram" normalize >out 2>err
[ "$(tr '\n' ' ' <out)" = '"the" "e" " " "\u000b" ' ] || { echo "FAILED: normalize: $(cat out err)"; failed=$((failed + 1)); }
printf '"a"\nnot json\n' | "$engram" normalize >out 2>err
{ [ $? -eq 1 ] && [ ! -s out ] && grep -q 'line 2' err; } || { echo "FAILED: normalize refuses line 2"; failed=$((failed + 1)); }

printf '"a"\0xyz\n' | "$engram" normalize >out 2>err
{ [ $? -eq 1 ] && [ ! -s out ]; } || { echo "FAILED: normalize drops what follows a zero byte"; failed=$((failed + 1)); }

# token-map, encode and trace: what is refused (the golden tests cover what is right)
printf '{"model":{"type":"Unigram","vocab":[]}}' >unigram.json
says "Unigram" 1 token-map --tokenizer unigram.json
says "cannot open" 1 token-map --tokenizer does_not_exist
says "--tokenizer" 2 token-map
printf '{"model":' >cut.json
says "cut.json" 1 encode --tokenizer cut.json --text ids
says "--text" 2 encode --tokenizer cut.json
says "--limit is -1" 1 trace --tokenizer cut.json --text ids --limit -1
says "" 2 trace --tokenizer cut.json --text ids --format xml

# inspect: safetensors FILE HEADER DATA writes the header's length, the header and the data
safetensors() {
  local size=${#2}
  printf "\\x$(printf %02x $((size % 256)))\\x$(printf %02x $((size / 256)))\\0\\0\\0\\0\\0\\0%s%s" "$2" "$3" >"$1"
}
rm -rf st
mkdir -p st/model st/flat st/bad
safetensors st/one '{"__metadata__":{"engram.layout_digest":"00ff","n":"1"},"layers.3.engram.embed.weight":{"dtype":"F8_E4M3","shape":[2,4],"data_offsets":[0,8]},"layers.3.engram.embed.scale":{"dtype":"F8_E8M0","shape":[2,1],"data_offsets":[8,10]},"norm.weight":{"dtype":"BF16","shape":[2],"data_offsets":[10,14]}}' 0123456789abcd
prints '{"files":[{"path":"st/one","format":"safetensors","tables":[{"name":"layers.3.engram.embed.weight","layer_id":3,"dtype":"F8_E4M3","rows":2,"row_bytes":4,"offset":302,"scale":{"name":"layers.3.engram.embed.scale","dtype":"F8_E8M0","row_bytes":1,"offset":310}}],"keys":{"engram.layout_digest":"00ff","n":"1"},"digest":"00ff"}]}' inspect st/one
safetensors st/two '{"table":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"a.layers.7.table":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]},"stable":{"dtype":"U8","shape":[1,1],"data_offsets":[12,13]},"b.table":{"dtype":"U8","shape":[1],"data_offsets":[13,14]},"layers.x.engram.embed.weight":{"dtype":"U8","shape":[1,1],"data_offsets":[14,15]}}' 0123456789abcde
two='{"path":"st/two","format":"safetensors","tables":[{"name":"table","layer_id":null,"dtype":"F32","rows":1,"row_bytes":8,"offset":344,"scale":null},{"name":"a.layers.7.table","layer_id":7,"dtype":"BF16","rows":2,"row_bytes":2,"offset":352,"scale":null}],"keys":{},"digest":null}'
prints "{\"files\":[$two]}" inspect st/two
run 0 inspect st/one st/two
grep -q '"path":"st/one".*"path":"st/two"' out || { echo "FAILED: inspect of two files"; failed=$((failed + 1)); }

# a model directory: the index says which file holds what, the scale lies in another one
safetensors st/model/b.safetensors '{"model.layers.1.engram.embed.scale":{"dtype":"F8_E8M0","shape":[3,2],"data_offsets":[0,6]}}' 012345
safetensors st/model/a.safetensors '{"model.layers.1.engram.embed.weight":{"dtype":"F8_E4M3","shape":[3,4],"data_offsets":[0,12]}}' 0123456789ab
printf '{"weight_map":{"model.layers.1.engram.embed.weight":"a.safetensors","model.layers.1.engram.embed.scale":"b.safetensors"}}' >st/model/model.safetensors.index.json
printf '{"model_type":"x","vocab_size":7,"hidden_size":1,"text_config":{"hidden_size":8,"engram_layer_ids":[1,{"a":null}],"rms_norm_eps":1e-06,"depth":3}}' >st/model/config.json
prints '{"files":[{"path":"st/model","format":"directory","tables":[],"keys":{"hidden_size":8,"engram_layer_ids":[1,{"a":null}],"rms_norm_eps":1e-06,"vocab_size":7},"digest":null},{"path":"st/model/a.safetensors","format":"safetensors","tables":[{"name":"model.layers.1.engram.embed.weight","layer_id":1,"dtype":"F8_E4M3","rows":3,"row_bytes":4,"offset":102,"scale":{"name":"model.layers.1.engram.embed.scale","dtype":"F8_E8M0","row_bytes":2,"offset":100,"path":"st/model/b.safetensors"}}],"keys":{},"digest":null},{"path":"st/model/b.safetensors","format":"safetensors","tables":[],"keys":{},"digest":null}]}' inspect st/model
cp st/two st/flat/model.safetensors
printf '{"dim":4,"hc_mult":4,"norm_eps":0.5,"engram_seed":18446744073709551615,"layers":9}' >st/flat/config.json
run 0 inspect st/flat
grep -qF '"keys":{"dim":4,"hc_mult":4,"norm_eps":0.5,"engram_seed":18446744073709551615}' out || { echo "FAILED: keys of a flat config.json: $(cat out)"; failed=$((failed + 1)); }
rm st/flat/config.json
run 0 inspect st/flat
grep -qF '"keys":{},' out || { echo "FAILED: a directory without config.json"; failed=$((failed + 1)); }

# inspect: what is refused
says "paths" 2 inspect
says "" 2 inspect ""
says "" 2 inspect st/one --frob
says "st/none" 1 inspect st/none
says "st/none" 1 inspect st/one st/none
printf 'GGUF\3\0\0\0' >st/gguf
says "st/gguf: the number of tensors of 8 bytes at byte 8" 1 inspect st/gguf

# pack: two layers whose sizes are the geometry's, scales in another file; then inspect and verify
rm -rf pk
mkdir pk
two_layers=(--layers 3,5 --sizes 2 --heads 1 --max-ngram 2 --compressed-vocab 64 --moduli 2,3)
safetensors pk/a '{"layers.3.engram.embed.weight":{"dtype":"F8_E4M3","shape":[2,4],"data_offsets":[0,8]},"layers.5.engram.embed.weight":{"dtype":"F8_E4M3","shape":[3,4],"data_offsets":[8,20]}}' AAAABBBBCCCCDDDDEEEE
safetensors pk/b '{"layers.5.engram.embed.scale":{"dtype":"F8_E8M0","shape":[3,1],"data_offsets":[0,3]},"layers.3.engram.embed.scale":{"dtype":"F8_E8M0","shape":[2,1],"data_offsets":[3,5]}}' cdeab
run 0 layout "${two_layers[@]}"
layout_digest=$(sed 's/.*"digest":"//;s/".*//' out)
prints "{\"rows\":5,\"row_bytes\":5,\"pages\":2,\"digest\":\"$layout_digest\"}" pack --from pk/a pk/b --out pk/rows "${two_layers[@]}"
[ "$(dd if=pk/rows bs=4096 skip=1 count=2 2>/dev/null | tr -dc 'A-Ea-e' | grep -o 'AAAAaBBBBb.*CCCCcDDDDdEEEEe')" ] || { echo "FAILED: the packed rows"; failed=$((failed + 1)); }
prints "{\"files\":[{\"path\":\"pk/rows\",\"format\":\"packed\",\"tables\":[{\"name\":null,\"layer_id\":3,\"dtype\":\"F8_E4M3\",\"rows\":2,\"row_bytes\":4,\"offset\":4096,\"scale\":{\"name\":null,\"dtype\":\"F8_E8M0\",\"row_bytes\":1,\"offset\":4100}},{\"name\":null,\"layer_id\":5,\"dtype\":\"F8_E4M3\",\"rows\":3,\"row_bytes\":4,\"offset\":8192,\"scale\":{\"name\":null,\"dtype\":\"F8_E8M0\",\"row_bytes\":1,\"offset\":8196}}],\"keys\":{},\"digest\":\"$layout_digest\"}]}" inspect pk/rows
prints '{"files":[{"path":"pk/rows","format":"packed","verified":"pages","pages":2},{"path":"pk/a","format":"safetensors","verified":"header"}]}' verify pk/rows pk/a
cp pk/rows pk/damaged
printf x | dd of=pk/damaged bs=1 seek=8200 conv=notrunc 2>/dev/null
says "pk/damaged: page 1 of 2 is damaged" 1 verify pk/rows pk/damaged
head -c 8191 pk/rows >pk/cut
says "pk/cut: 8191 bytes, expected 12288" 1 verify pk/cut
head -c 8192 pk/rows >pk/again.part # killed when one page was written
run 0 pack --from pk/a pk/b --out pk/again "${two_layers[@]}"
grep -qF "going on from there" err || { echo "FAILED: pack does not say that it goes on"; failed=$((failed + 1)); }
cmp -s pk/rows pk/again || { echo "FAILED: a packed file that was gone on with is another one"; failed=$((failed + 1)); }
says "has 2 rows, expected 7 for layer 3" 1 pack --from pk/a pk/b --out pk/none --layers 3,5 --sizes 2 --heads 1 --max-ngram 2 --compressed-vocab 64 --moduli 7,3
says "layer 4: 0 tables" 1 pack --from pk/a pk/b --out pk/none --layers 4 --sizes 2 --heads 1 --max-ngram 2 --compressed-vocab 64 --moduli 2
says "layer 3: 2 tables" 1 pack --from pk/a pk/a --out pk/none "${two_layers[@]}"
says "a packed file already" 1 pack --from pk/rows --out pk/none "${two_layers[@]}"
says "--out" 2 pack --from pk/a "${two_layers[@]}"
says "pk/no/rows" 1 pack --from pk/a pk/b --out pk/no/rows "${two_layers[@]}"
[ ! -e pk/none ] && [ ! -e pk/none.part ] || { echo "FAILED: a refused pack left a file"; failed=$((failed + 1)); }
says "paths" 2 verify
says "st/gguf: the number of tensors" 1 verify st/gguf

# GGUF: le WIDTH NUMBER..., numbers little-endian; key NAME TYPE, then the value; both as printf's escapes
le() {
  local width=$1 number i
  shift
  for number; do
    for ((i = 0; i < width; i++)); do printf '\\x%02x' $((number >> (8 * i) & 255)); done
  done
}
text() { le 8 ${#1} && printf %s "$1"; }
key() { text "$1" && le 4 "$2"; }
array() { key "$1" 9 && le 4 "$2" && le 8 "$3"; } # NAME TYPE COUNT
word() { key "$1" 4 && le 4 "$2"; }
tensor() { text "$1" && le 4 2 && le 8 "$2" "$3" && le 4 "$4" && le 8 "$5"; }
# gguf FILE TENSORS KEYS HEADER DATA: the data begins at a multiple of 32
gguf() {
  printf "GGUF$(le 4 3)$(le 8 "$2" "$3")$4" >"$1"
  truncate -s %32 "$1"
  printf %s "$5" >>"$1"
}
run 0 layout "${two_layers[@]}"
multipliers=$(sed 's/"layer_id"/\n/g' out | sed -n 's/.*"multipliers":\["\([0-9]*\)","\([0-9]*\)"\].*/\1 \2/p')
at=deepseek41.engram
map() { array $at.token_map 5 64 && le 4 $(seq 0 63); }
shared() { array $at.layer_ids 4 2 && le 4 3 5 && word $at.pad_id 2 && map; }
constants() { array $at.primes 10 2 && le 8 2 3 && array $at.multipliers 10 4 && le 8 $multipliers; }
geometry() { word $at.head_count 1 && word $at.key_length 2 && word $at.max_ngram_size 2; }
bf16=30
b_tensors="$(tensor blk.3.engram_embd.weight 2 2 $bf16 0)$(tensor blk.5.engram_embd.weight 2 3 $bf16 32)"
b_data="AAAABBBB........................CCCCDDDDEEEE"
gguf pk/b.gguf 2 8 "$(shared)$(constants)$(geometry)$b_tensors" "$b_data"
b_at=$(($(wc -c <pk/b.gguf) - ${#b_data}))
quoted=$(printf '"%s",' $multipliers)
prints "{\"files\":[{\"path\":\"pk/b.gguf\",\"format\":\"gguf\",\"tables\":[{\"name\":\"blk.3.engram_embd.weight\",\"layer_id\":3,\"dtype\":\"BF16\",\"rows\":2,\"row_bytes\":4,\"offset\":$b_at,\"scale\":null},{\"name\":\"blk.5.engram_embd.weight\",\"layer_id\":5,\"dtype\":\"BF16\",\"rows\":3,\"row_bytes\":4,\"offset\":$((b_at + 32)),\"scale\":null}],\"keys\":{\"$at.layer_ids\":[3,5],\"$at.pad_id\":2,\"$at.token_map\":[$(seq -s, 0 63)],\"$at.primes\":[2,3],\"$at.multipliers\":[${quoted%,}],\"$at.head_count\":1,\"$at.key_length\":2,\"$at.max_ngram_size\":2},\"digest\":\"$layout_digest\"}]}" inspect pk/b.gguf
grep -qF "$at.offsets: not in the file, computed" err || { echo "FAILED: inspect does not say what it computed: $(cat err)"; failed=$((failed + 1)); }
prints '{"files":[{"path":"pk/b.gguf","format":"gguf","verified":"header"}]}' verify pk/b.gguf
grep -qF "GGUF files have no checksums" err || { echo "FAILED: verify of a GGUF"; failed=$((failed + 1)); }
prints "{\"rows\":5,\"row_bytes\":4,\"pages\":2,\"digest\":\"$layout_digest\"}" pack --from pk/b.gguf --out pk/b.rows "${two_layers[@]}"
[ "$(dd if=pk/b.rows bs=4096 skip=1 count=2 2>/dev/null | tr -dc 'A-E' | grep -o 'AAAABBBB.*CCCCDDDDEEEE')" ] || { echo "FAILED: rows packed from a GGUF"; failed=$((failed + 1)); }
run 0 inspect pk/b.rows
grep -qF '"dtype":"BF16","rows":2,"row_bytes":4,' out || { echo "FAILED: type of rows packed from a GGUF"; failed=$((failed + 1)); }
says "its keys give the layout $layout_digest, expected " 1 pack --from pk/b.gguf --out pk/none "${two_layers[@]}" --seed 1
says "layer 3, multipliers[0]: expected" 1 pack --from pk/b.gguf --out pk/none "${two_layers[@]}" --seed 1
says "layer 3: 2 tables" 1 pack --from pk/b.gguf pk/a pk/b --out pk/none "${two_layers[@]}"

# dialect A: codes and scales in one tensor
a_keys="$(shared)$(constants)$(array $at.rows 4 2)$(le 4 2 3)$(word $at.compressed_vocab_size 64)$(key $at.encoding 8)"
a_tensors="$(tensor blk.3.engram_embd.weight 264 2 24 0)$(tensor blk.5.engram_embd.weight 264 3 24 544)"
row() { printf "$1%.0s" $(seq 256) && printf "$2%.0s" $(seq 8); }
rows_a=$(row A a && row B b && printf .%.0s $(seq 16) && row C c && row D d && row E e)
gguf pk/a.gguf 2 8 "$a_keys$(text e4m3_e8m0_32_row264)$a_tensors" "$rows_a"
a_at=$(($(wc -c <pk/a.gguf) - ${#rows_a}))
run 0 inspect pk/a.gguf
grep -qF "\"dtype\":\"F8_E4M3\",\"rows\":2,\"row_bytes\":256,\"offset\":$a_at,\"scale\":{\"name\":null,\"dtype\":\"F8_E8M0\",\"row_bytes\":8,\"offset\":$((a_at + 256))}" out || { echo "FAILED: inspect of dialect A: $(cat out err)"; failed=$((failed + 1)); }
prints "{\"rows\":5,\"row_bytes\":264,\"pages\":2,\"digest\":\"$layout_digest\"}" pack --from pk/a.gguf --out pk/a.rows "${two_layers[@]}"
[ "$(dd if=pk/a.rows bs=4096 skip=1 count=2 2>/dev/null | tr -d '\0' | tr -dc 'A-Ea-e' | tr -s 'A-Ea-e' | grep -o 'AaBb.*CcDdEe')" ] || { echo "FAILED: rows packed from dialect A"; failed=$((failed + 1)); }

# other dialects have their tables shown, and are not packed
gguf pk/c.gguf 2 8 "$(shared)$(constants)$(word deepseek41.engram_head_dim 2)$(word $at.key_length 2)$(word $at.head_count 1)$b_tensors" "$b_data"
run 0 inspect pk/c.gguf
grep -qF '"dtype":"BF16","rows":2,"row_bytes":4,' out && grep -qF '"digest":null' out || { echo "FAILED: inspect of dialect C: $(cat out)"; failed=$((failed + 1)); }
grep -qF 'no digest: pk/c.gguf: dialect C (key "deepseek41.engram_head_dim")' err || { echo "FAILED: inspect of dialect C says nothing: $(cat err)"; failed=$((failed + 1)); }
says "dialect C" 1 pack --from pk/c.gguf --out pk/none "${two_layers[@]}"
gguf pk/q.gguf 2 8 "$(shared)$(constants)$(geometry)${b_tensors//\\x1e/\\x63}" "$b_data"
says "table type #99 is not read; known: F32" 1 pack --from pk/q.gguf --out pk/none "${two_layers[@]}"
head -c 300 pk/b.gguf >pk/cut.gguf
says "pk/cut.gguf: " 1 verify pk/b.gguf pk/cut.gguf
[ ! -e pk/none ] && [ ! -e pk/none.part ] || { echo "FAILED: a refused pack of a GGUF left a file"; failed=$((failed + 1)); }
printf '{"a":1}' >st/json
says "st/json: the file has 7 bytes" 1 inspect st/json
printf '{"a":1, "b":2}' >st/json
says "this is no safetensors file" 1 inspect st/json
safetensors st/cut '{"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}' 012
says 'st/cut: tensor "t": its data ends at byte 4 of 3' 1 inspect st/cut
safetensors st/twice '{"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}' 0
says 'the name "t" occurs twice' 1 inspect st/twice
safetensors st/half '{"table":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]}}' 012
says 'tensor "table": a row of F4 ends inside a byte' 1 inspect st/half
says "st/bad: no model.safetensors.index.json" 1 inspect st/bad
printf '{"weight_map":{"t":"../one"}}' >st/bad/model.safetensors.index.json
says 'tensor "t" is in "../one"' 1 inspect st/bad
printf '{"weight_map":{"t":"c.safetensors"}}' >st/bad/model.safetensors.index.json
says 'tensor "t" is in "c.safetensors"' 1 inspect st/bad
cp st/two st/bad/c.safetensors
says 'tensor "t" should be in st/bad/c.safetensors, which lacks it' 1 inspect st/bad
printf '{"engram_seed":1,"engram_seed":2}' >st/flat/config.json
says 'st/flat/config.json: the key "engram_seed" occurs twice' 1 inspect st/flat
printf '{"engram_seed":' >st/flat/config.json
says "st/flat/config.json: not JSON" 1 inspect st/flat
printf '[]' >st/flat/config.json
says "expected an object" 1 inspect st/flat

# plan: expected values by hand. One head of 101 rows and as many n-grams: 1 - 1/e of it is read.
plain=(--layers 1 --sizes 100 --heads 1 --max-ngram 2 --compressed-vocab 1000 --tokens 202)
has() { # has TEXT: the last output holds it
  checks=$((checks + 1))
  grep -qF -- "$1" out || { echo "FAILED: '$1' is not in $(cat out)"; failed=$((failed + 1)); }
}
run 0 plan "${plain[@]}" --row-width 20 --optimizer adam --distinct 2=101 --bandwidth 128
has '"sizes":[100],"row":{"width":20,"format":"bf16","bytes":40},"optimizer":"adam","tier":{"name":"memory",'
has '"rows":{"value":101,"basis":"exact"},"parameters":{"value":2020,"basis":"exact"}'
has '"table_bytes":{"value":6464,"basis":"exact"}' # 64 a row
has '"optimizer_bytes":{"value":16564,"basis":"exact"}' # 41 floats a row
has '"row_bytes_per_token":{"value":40,"basis":"exact"},"read_bytes_per_token":{"value":64,"basis":"estimate"}'
has '"bandwidth":{"value":128,"basis":"given"},"tokens_per_second":{"value":2.0,"basis":"estimate"}'
has '"rows_per_head":{"value":101,"basis":"exact"},"distinct_ngrams":{"value":101,"basis":"given","source":"--distinct"},"occupancy":{"value":0.632120558828'
has '"sharers":{"value":1.0,"basis":"estimate"},"tokens_per_row":{"value":2.0,"basis":"exact"}'
cp out planned
run 0 layout --layers 1 --sizes 100 --heads 1 --max-ngram 2 --compressed-vocab 1000
checks=$((checks + 1))
[ "$(grep -o '"digest":.*' out)" = "$(grep -o '"digest":.*' planned)" ] || { echo "FAILED: plan's digest"; failed=$((failed + 1)); }
run 0 plan "${plain[@]}" --row-width 20 --tier disk # rows begin at multiples of 8 of a page
has '"table_bytes":{"value":4040,"basis":"exact"},"optimizer_bytes":{"value":0,"basis":"exact"}'
has '"read_bytes_per_token":{"value":4128,"basis":"estimate"}'
has '"basis":"estimate","source":"Heaps'
run 0 plan "${plain[@]}" --row-width 64 --row-format fp8 --tier mmap
has '"row":{"width":64,"format":"fp8","bytes":66},"optimizer":null'
run 0 plan --preset deepseek-v4.1 --row-format fp8 --tier disk --tokens 1000000000000
has '"table_bytes":{"value":202758032400,"basis":"exact"}'
has '"sizes":[16000000,16000000,16000000]'
budget=(--layers 1,4 --heads 2 --max-ngram 3 --compressed-vocab 64 --row-width 32 --tokens 9)
for rule in unique-primes nth-prime odd pow2; do
  run 0 plan "${budget[@]}" --budget-parameters 100000 --moduli "$rule"
  cp out planned
  size=$(sed 's/.*"sizes":\[\([0-9]*\),.*/\1/' planned)
  used=$(sed 's/.*"limit":100000,"used":\([0-9]*\)}.*/\1/' planned)
  run 0 plan "${budget[@]}" --sizes "$((size + 1)),$((size + 1))" --moduli "$rule"
  beyond=$(sed 's/.*"parameters":{"value":\([0-9]*\),.*/\1/' out)
  checks=$((checks + 1))
  if [ "$used" -gt 100000 ] || [ "$beyond" -le 100000 ]; then
    echo "FAILED: plan --moduli $rule: sizes $size use $used, one more $beyond"
    failed=$((failed + 1))
  fi
done
run 0 plan "${budget[@]}" --budget-bytes 100000 --format text
has "rows per head"
bytes() { # a token for each byte: printable ones as they are, the others from U+0100 on
  local other=256 b
  for ((b = 0; b < 256; b++)); do
    if ((b < 33 || (b > 126 && b < 161) || b == 173)); then printf ',"\\u%04x":%d' $((other++)) "$b"; else printf ',"\\u%04x":%d' "$b" "$b"; fi
  done
}
vocab=$(bytes)
printf '{"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{%s},"merges":[]}}' "${vocab#,}" >abc.json
{ printf 'abcabb' && printf 'ab%.0s' $(seq 600); } >abc.txt
counted=(--layers 1 --sizes 64,64 --heads 1 --max-ngram 3 --pad 0 --row-width 4 --tokenizer abc.json --text abc.txt)
run 0 plan "${counted[@]}" --tokens 6 # -a ab bc ca ab bb; --a -ab abc bca cab abb
has '"distinct_ngrams":{"value":5,"basis":"measured","source":"the first 6 tokens of --text"}'
has '"distinct_ngrams":{"value":6,"basis":"measured",'
run 0 plan "${counted[@]}" --tokens 1000000 # nothing new comes, and none is expected
has '"basis":"estimate","source":"Heaps'
has 'fitted on the 1206 tokens of --text"'
has '"distinct_ngrams":{"value":6,"basis":"estimate"'
has '"distinct_ngrams":{"value":9,"basis":"estimate"'

# plan: what is refused
says "--tokens" 2 plan --preset demo
says "'x' is not a whole number" 2 plan "${plain[@]}" --row-width x
says "--row-width (or --preset)" 2 plan "${plain[@]}"
says "--row-width is 0" 1 plan "${plain[@]}" --row-width 0
says "a scale for each 32" 1 plan "${plain[@]}" --row-width 33 --row-format fp8
says "rows of fp8 are not trained" 1 plan "${plain[@]}" --row-width 32 --row-format fp8 --optimizer adam
says "tape not in" 2 plan "${plain[@]}" --row-width 8 --tier tape
says "--bandwidth is 0" 1 plan "${plain[@]}" --row-width 8 --bandwidth 0
says "excludes" 2 plan "${plain[@]}" --row-width 8 --budget-bytes 5
says "excludes" 2 plan "${budget[@]}" --budget-bytes 5 --budget-parameters 5
says "leave a budget nothing to choose" 2 plan "${budget[@]}" --budget-bytes 5000 --moduli 3,5,7,11,13,17,19,23
says "the budget holds 0 rows" 1 plan "${budget[@]}" --budget-bytes 5
says "--budget-bytes is 0" 1 plan "${budget[@]}" --budget-bytes 0
says "requires --tokenizer" 2 plan "${plain[@]}" --row-width 8 --text abc.txt
says "requires --text" 2 plan "${plain[@]}" --row-width 8 --tokenizer abc.json
says "excludes" 2 plan "${counted[@]}" --tokens 9 --distinct 2=1,3=1
says "cannot open" 1 plan "${counted[@]:0:12}" --tokenizer abc.json --text does_not_exist --tokens 9
printf 'abc' >short.txt
says "3 tokens, expected at least 1024" 1 plan "${counted[@]:0:12}" --tokenizer abc.json --text short.txt --tokens 9
says "--boundary starts" 1 plan "${counted[@]}" --tokens 9 --boundary starts:0
for wrong in "" , 2 2=x 2=1, x=1; do says "--distinct" 2 plan "${plain[@]}" --row-width 8 --distinct "$wrong"; done
says "203 n-grams of order 2, expected 1 to the 202" 1 plan "${plain[@]}" --row-width 8 --distinct 2=203
says "order 3, expected each from 2 to 2 once" 1 plan "${plain[@]}" --row-width 8 --distinct 2=1,3=1
says "order 2, expected each from 2 to 2 once" 1 plan "${plain[@]}" --row-width 8 --distinct 2=1,2=1
says "no count for order 2" 1 plan "${budget[@]}" --budget-bytes 9000 --distinct 3=1
says "--tokens is 1000000000000000001" 1 plan "${plain[@]:0:10}" --row-width 8 --tokens 1000000000000000001
says "" 2 plan "${plain[@]}" --row-width 8 --format xml

# trace --record and simulate: the rows of abc.txt, and what caches make of them
recorded=(--layers 1,4 --sizes 64,64 --heads 1 --max-ngram 3 --pad 0 --tokenizer abc.json --text abc.txt)
run 0 trace "${recorded[@]}" --record abc.trace
has '{"tokens":1206,"layers":2,"columns":2,"digest":"'
[ "$(wc -c <abc.trace)" -eq $((16 + $(od -An -tu4 -j12 -N4 abc.trace) + 8 + 8 + 4 * 1206 + 12 + 8 + 32)) ] || { echo "FAILED: size of a trace"; failed=$((failed + 1)); }
says "--limit" 2 trace "${recorded[@]}" --record abc.trace --limit 3
says "--format" 2 trace "${recorded[@]}" --record abc.trace --format text
says "" 2 trace "${recorded[@]}" --record ""
says "cannot write" 1 trace "${recorded[@]}" --record does/not/exist
cp abc.trace kept.trace
printf 'ab\377' >not_utf8.txt
says "not UTF-8 at byte 2" 1 trace "${recorded[@]:0:12}" --text not_utf8.txt --record abc.trace
cmp -s abc.trace kept.trace || { echo "FAILED: a failed recording leaves the old one"; failed=$((failed + 1)); }
run 0 simulate --trace abc.trace --cache 272,1KiB --row-bytes 17 --policy lru,static --orders all,2 --chunk 1,2000
has '{"tokens":1206,"reads":4824,"followed":4824,"sample":1,"row_bytes":17,"table_rows":'
has '"orders":[{"order":2,"unique_rows":10,'
has '{"order":3,"unique_rows":18,'
has '"chunks":[{"tokens":1,"chunks":1206,"orders":[{"order":2,"unique":1.0,"again":'
has '{"tokens":2000,"chunks":0,"orders":[{"order":2,"unique":null,"again":0.995'
has '{"policy":"lru","orders":"all","bytes":272,"rows":16,'
has '{"policy":"static","orders":"2","bytes":1024,"rows":60,"share_of_table":'
has '"hit_rate":null,"second_half":0.5,"by_order":[{"order":2,"hit_rate":null,"second_half":1.0},{"order":3,"hit_rate":null,"second_half":0.0}]}'
run 0 simulate --trace abc.trace --sample 2 --cache 16KiB,32KiB --csv abc.csv --svg abc.svg
has '"followed":2412,"sample":2,'
[ "$(grep -c . abc.csv)" -eq 37 ] || { echo "FAILED: lines of --csv"; failed=$((failed + 1)); }
grep -q '^<svg ' abc.svg || { echo "FAILED: --svg"; failed=$((failed + 1)); }
run 0 simulate --trace abc.trace --cache 1MiB --policy lru --manifest abc.hot --manifest-rows 5
[ "$(head -c 8 abc.hot) $(wc -c <abc.hot)" = "ENGRHOTS $((56 + 2 * 12 + 5 * 8 + 8))" ] || { echo "FAILED: --manifest"; failed=$((failed + 1)); }
says "--trace" 2 simulate
says "cannot open" 1 simulate --trace does_not_exist
says "no row trace" 1 simulate --trace abc.txt
head -c 2000 abc.trace >cut.trace
says "cut off, or not finished" 1 simulate --trace cut.trace
for wrong in "" , 1MB 1MiB, -1 1.5MiB MiB 9223372036854775807KiB; do says "--cache" 2 simulate --trace abc.trace --cache "$wrong"; done
for wrong in "" mru lru, LRU; do says "--policy" 2 simulate --trace abc.trace --policy "$wrong"; done
for wrong in "" 1 9 2+ +2 2++3 2,x all+2; do says "--orders" 2 simulate --trace abc.trace --orders "$wrong"; done
for option in --chunk --row-bytes --sample; do
  for wrong in "" x; do says "$option" 2 simulate --trace abc.trace "$option" "$wrong"; done
  says "$option is 0, expected 1 or more" 1 simulate --trace abc.trace "$option" 0
done
says "15 rows of 17 bytes" 1 simulate --trace abc.trace --cache 271 --row-bytes 17
says "expected at least 16 times --sample" 1 simulate --trace abc.trace --cache 272 --row-bytes 17 --sample 2
says "one in 3 columns" 1 simulate --trace abc.trace --sample 3
says "2+4, but the longest n-gram" 1 simulate --trace abc.trace --orders 2+4
says "requires --manifest-rows" 2 simulate --trace abc.trace --manifest x
says "requires --manifest" 2 simulate --trace abc.trace --manifest-rows 5
says "--manifest-rows is 0" 1 simulate --trace abc.trace --manifest x --manifest-rows 0
says "leave --sample out" 1 simulate --trace abc.trace --sample 2 --manifest x --manifest-rows 5
for option in --csv --svg; do says "does/not" 1 simulate --trace abc.trace "$option" does/not/exist; done
says "does/not" 1 simulate --trace abc.trace --manifest does/not/exist --manifest-rows 1
# bench read: figures differ from run to run, their names do not
bench() { run "$1" bench read --seconds 0.2 "${@:2}"; }
members() { # members NAME...: the last output has each of them
  local name
  for name in "$@"; do
    checks=$((checks + 1))
    grep -qF -- "\"$name\":" out || { echo "FAILED: bench prints no '$name'"; failed=$((failed + 1)); }
  done
}
bench 0 pk/rows
members path rows row_bytes bytes ids free_memory load placement compared_rows sections device cold faults token adaptive changes overlap warm counters recommended
grep -qF '{"path":"pk/rows","made_bytes":null,"rows":5,"row_bytes":4,"scale_bytes":1,' out || { echo "FAILED: bench: $(cat out)"; failed=$((failed + 1)); }
grep -qE '"reader":"direct, io_uring"' out || { echo "FAILED: bench without a word on io_uring"; failed=$((failed + 1)); }
bench 0 pk/rows --layer 5 --ids uniform --rows-per-token 3 --format text
grep -qF "3 rows of 5 bytes" out && grep -q "^Recommended" out || { echo "FAILED: bench --format text: $(cat out)"; failed=$((failed + 1)); }
bench 0 st/one # codes and scales apart
members compared_rows
bench 0 --make 8388608 --in .
grep -qF '"path":null,"made_bytes":8' out || { echo "FAILED: bench --make: $(cat out)"; failed=$((failed + 1)); }
[ -z "$(find . -name 'engram-bench*')" ] || { echo "FAILED: bench --make left a file"; failed=$((failed + 1)); }
: >empty
for bad in "empty" "no/such/file" "pk" "/dev/null" "pk/cut"; do says "$bad" 1 bench read --seconds 0.2 "$bad"; done
says "2 tables, expected one; name it by --layer" 1 bench read st/two
says "0 tables of that layer" 1 bench read st/two --layer 8
says "no rows of layer 4" 1 bench read pk/rows --layer 4
says "--rows-per-token is 0" 1 bench read pk/rows --rows-per-token 0
says "--rows-per-token is 32769" 1 bench read pk/rows --rows-per-token 32769
says "--seconds is 0" 1 bench read pk/rows --seconds 0
says "--seconds is nan" 1 bench read pk/rows --seconds nan
says "'x' is no number" 2 bench read pk/rows --seconds x
says "--rows-per-token" 2 bench read pk/rows --rows-per-token 4x
says "--ids" 2 bench read pk/rows --ids normal
says "a file, or --make with --in" 2 bench read
says "excludes" 2 bench read pk/rows --make 8388608 --in .
says "requires --in" 2 bench read --make 8388608
says "requires --make" 2 bench read --in .
says "a table of 8191 bytes" 1 bench read --make 8191 --in .
says "twice the table" 1 bench read --make 900000000000000 --in .
says "no/such" 1 bench read --make 8388608 --in no/such
says "subcommand" 2 bench

says "subcommand" 2
run 0 --help
run 0 --version

echo "$checks checks, $failed failed"
[ "$failed" -eq 0 ]
