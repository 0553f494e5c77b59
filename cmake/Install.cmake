# SPDX-License-Identifier: Apache-2.0
# The C library: libtl_hub.a, the hub's headers and tl_hub.pc. Headers include each other as "hub/NAME.h", so they lie in
# include/tl_hub/hub/ and pkg-config gives -I…/include/tl_hub. The archive is static: its interface may still change.
set_target_properties(tl_hub_core PROPERTIES OUTPUT_NAME tl_hub)
install(TARGETS tl_hub_core ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY hub/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tl_hub/hub
  FILES_MATCHING PATTERN "*.h" PATTERN "module" EXCLUDE PATTERN "*_impl.h" EXCLUDE PATTERN "store_*.h" EXCLUDE
  PATTERN "schema_texts.h" EXCLUDE PATTERN "key.h" EXCLUDE PATTERN "fault.h" EXCLUDE PATTERN "gc_scan.h" EXCLUDE
  PATTERN "sighting.h" EXCLUDE)
install(DIRECTORY schemas/ DESTINATION ${CMAKE_INSTALL_DATADIR}/tl_hub/schemas FILES_MATCHING PATTERN "*.json")
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
configure_file(cmake/tl_hub.pc.in tl_hub.pc.in @ONLY)
# The prefix is known only when it is installed (cmake --install --prefix), so the file is completed then.
install(CODE "
  set(prefix \"\${CMAKE_INSTALL_PREFIX}\")
  file(READ \"${PROJECT_BINARY_DIR}/tl_hub.pc.in\" text)
  string(REPLACE \"%PREFIX%\" \"\${prefix}\" text \"\${text}\")
  set(folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig\")
  file(WRITE \"\${folder}/tl_hub.pc\" \"\${text}\")
  message(STATUS \"Installing: \${folder}/tl_hub.pc\")")
# The unit of a runner as a service; it names the program by its place, which is known only when it is installed.
install(CODE "
  set(prefix \"\${CMAKE_INSTALL_PREFIX}\")
  file(READ \"${PROJECT_SOURCE_DIR}/systemd/tl_hub-runner@.service.in\" text)
  string(REPLACE \"%PREFIX%\" \"\${prefix}\" text \"\${text}\")
  set(folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\")
  file(WRITE \"\${folder}/tl_hub-runner@.service\" \"\${text}\")
  message(STATUS \"Installing: \${folder}/tl_hub-runner@.service\")")
install(FILES docs/running-a-fleet.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
