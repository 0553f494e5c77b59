# SPDX-License-Identifier: Apache-2.0
# cmake -DDIRECTORY=schemas -DOUTPUT=schema_texts.c -P embed_schemas.cmake: schemas/*.json as C strings.
file(GLOB schemas ${DIRECTORY}/*.json)
list(SORT schemas)
set(body "")
foreach(schema IN LISTS schemas)
  get_filename_component(name "${schema}" NAME_WE)
  file(READ "${schema}" text HEX)
  # Bytes, not a string literal: no escapes to get wrong and no limit on a length.
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," text "${text}")
  string(APPEND body "static const unsigned char ${name}_text[] = {${text}0};\n")
  string(APPEND table "    {\"${name}\", (const char *)${name}_text},\n")
endforeach()
file(WRITE "${OUTPUT}.new" "/* Generated from schemas/ by hub/embed_schemas.cmake. */\n#include \"hub/schema_impl.h\"\n\n#include <stddef.h>\n\n${body}\nconst struct schema_text schema_texts[] = {\n${table}    {NULL, NULL},\n};\n")
file(COPY_FILE "${OUTPUT}.new" "${OUTPUT}" ONLY_IF_DIFFERENT)
file(REMOVE "${OUTPUT}.new")
